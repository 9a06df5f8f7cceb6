package org.rlhf4j.core.model;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/** Brings the model of a folder onto a device. */
public final class ModelLoader {
  /** Hugging Face's default, for configurations that do not name one. */
  private static final double DEFAULT_INITIALIZER_RANGE = 0.02;

  private ModelLoader() {}

  /**
   * How a model is loaded.
   *
   * @param type what is computed with
   * @param trainable whether it can be trained
   */
  public record Options(ElementType type, boolean trainable) {}

  /**
   * Loads a language model; the caller closes it.
   *
   * @throws org.rlhf4j.core.RlhfException if the folder holds none, or anything in it does not fit
   */
  public static CausalLm causalLm(Torch torch, ModelFolder folder, Options options) {
    ModelFamilies.Model model = ModelFamilies.of(folder);
    if (model.head() != ModelHead.CAUSAL_LM) {
      throw RlhfException.input(
          folder.configFile()
              + ": expected a language model ("
              + model.family().architecture(ModelHead.CAUSAL_LM)
              + "), found a reward model");
    }
    Weights.Source source =
        (parameter, from, target) -> model.read(folder, parameter.name(), from, target);
    return new CausalLm(torch, model.spec(), weights(torch, model.parameters(), source, options));
  }

  /**
   * Loads a reward model, or a language model's trunk under a fresh score head. The caller closes
   * it.
   *
   * @param headSeed of a fresh head, which is drawn as Hugging Face draws it: normal with the
   *     configuration's initializer_range
   * @throws org.rlhf4j.core.RlhfException if anything in the folder does not fit
   */
  public static RewardModel rewardModel(
      Torch torch, ModelFolder folder, Options options, long headSeed) {
    ModelFamilies.Model model = ModelFamilies.of(folder);
    List<ParameterSpec> parameters = new ArrayList<>(model.family().parameters(model.spec()));
    List<ParameterSpec> head =
        model.family().headParameters(model.spec(), ModelHead.SEQUENCE_CLASSIFICATION);
    parameters.addAll(head);
    boolean fresh = model.head() == ModelHead.CAUSAL_LM;
    double range = folder.config().path("initializer_range").asDouble(DEFAULT_INITIALIZER_RANGE);
    Weights.Source source =
        (parameter, from, target) -> {
          if (fresh && head.contains(parameter)) {
            draw(headSeed, range, from, target);
          } else {
            model.read(folder, parameter.name(), from, target);
          }
        };
    return new RewardModel(torch, model.spec(), weights(torch, parameters, source, options));
  }

  private static Weights weights(
      Torch torch, List<ParameterSpec> parameters, Weights.Source source, Options options) {
    return new Weights(torch, parameters, source, options.type(), options.trainable());
  }

  private static void draw(long seed, double range, long from, FloatBuffer target) {
    for (long i = from; target.hasRemaining(); i++) {
      target.put((float) (range * CounterRandom.gaussian(seed, RandomStream.HEAD_INIT, 0, 0, i)));
    }
  }
}
