package org.rlhf4j.reward;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.Encoded;
import org.rlhf4j.core.data.Example;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.RowOrigin;
import org.rlhf4j.core.data.TextForm;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Scorer;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelHead;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.RewardFunction;

/**
 * The raw score of a reward model's folder as a reward. It reads the text {@code prompt + response}
 * with the reward model's own tokenizer, as {@code score} reads a row with responses: with an end
 * token, and in the {@code hh-hash} form, where the folder says that the model was trained so
 * ({@link TextForm}). A reward model without a tokenizer reads the ids of prompt and response.
 */
public final class ModelReward implements RewardFunction, AutoCloseable {
  private final Path folder;
  private final Tokenizer tokenizer;
  private final RewardModel model;
  private final RowEncoder encoder;
  private final Scorer scorer;

  private ModelReward(Path folder, RowEncoder encoder, RewardModel model, Scorer scorer) {
    this.folder = folder;
    this.tokenizer = encoder.tokenizer();
    this.encoder = encoder;
    this.model = model;
    this.scorer = scorer;
  }

  /**
   * Loads a reward model.
   *
   * @param batchSize texts that are scored side by side
   * @return closed by the caller
   * @throws RlhfException if the folder holds no reward model that can be used
   */
  public static ModelReward open(Torch torch, Path folder, ElementType type, int batchSize) {
    ModelFolder files = ModelFolder.open(folder);
    ModelFamilies.Model found = ModelFamilies.of(files);
    requireRewardModel(files, found);
    TextForm form = TextForm.of(folder);
    Path texts = files.tokenizerPath();
    Tokenizer tokenizer = Tokenizer.existsIn(texts) ? Tokenizer.load(texts) : null;
    RewardModel model =
        ModelLoader.rewardModel(torch, files, new ModelLoader.Options(type, false), 0);
    RowEncoder encoder =
        new RowEncoder(
            tokenizer,
            found.spec().vocabularySize(),
            new RowEncoder.Options(
                form.template(), Integer.MAX_VALUE, Overlong.ERROR, form.appendEos(), false));
    return new ModelReward(folder, encoder, model, new Scorer(batchSize, done -> {}));
  }

  private static void requireRewardModel(ModelFolder files, ModelFamilies.Model found) {
    if (found.head() != ModelHead.SEQUENCE_CLASSIFICATION) {
      throw RlhfException.input(
          "%s: expected a reward model (%s), found a language model"
              .formatted(
                  files.configFile(),
                  found.family().architecture(ModelHead.SEQUENCE_CLASSIFICATION)));
    }
  }

  /**
   * Looks at what {@link #open} would load, without reading weights.
   *
   * @return null where it could not be used
   */
  static Found check(Path folder, Checks checks) {
    Checks.FoundModel found = checks.model("reward", folder);
    if (found.model() == null) {
      return null;
    }
    return checks.look(
        () -> {
          requireRewardModel(found.folder(), found.model());
          TextForm.of(folder);
          Path texts = found.folder().tokenizerPath();
          boolean readsText = Tokenizer.existsIn(texts);
          if (readsText) {
            Tokenizer.load(texts).close();
          }
          return new Found(found.model().spec(), readsText);
        });
  }

  /** A reward model, and whether it reads texts, not ids. */
  record Found(DecoderSpec spec, boolean readsText) {}

  /** The most tokens that it can read. */
  int context() {
    return model.decoder().spec().maxPositions();
  }

  /** Whether it reads texts, not ids. */
  public boolean readsText() {
    return tokenizer != null;
  }

  @Override
  public double[] rewards(List<Completion> completions) {
    List<TokenRow> rows = new ArrayList<>();
    for (Completion completion : completions) {
      rows.add(row(completion.place(), completion.index(), response(completion)));
    }
    return scores(rows);
  }

  /**
   * The scores of whole texts, prompt and response together, for a model that {@linkplain
   * #readsText() reads text}.
   *
   * @param list what messages call the list of the texts
   * @return a score for each, in their order
   * @throws RlhfException where a text cannot be read or is longer than the context
   */
  public double[] scores(String list, List<String> texts) {
    List<TokenRow> rows = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      String place = list + "[" + i + "]";
      rows.add(row(place, i, new Example.Response("", texts.get(i), null, null)));
    }
    return scores(rows);
  }

  private double[] scores(List<TokenRow> rows) {
    float[] scores = scorer.scores(model, rows);
    double[] rewards = new double[scores.length];
    for (int i = 0; i < rewards.length; i++) {
      rewards[i] = scores[i];
    }
    return rewards;
  }

  /** What the model reads. */
  int[] ids(Completion completion) {
    return ids(completion.place(), completion.index(), response(completion));
  }

  private static Example.Response response(Completion completion) {
    return new Example.Response(
        completion.prompt(), completion.text(), completion.promptIds(), completion.ids());
  }

  private TokenRow row(String place, int index, Example.Response response) {
    TokenRow row = TokenRow.allTargets(ids(place, index, response));
    if (row.length() > context()) {
      throw RlhfException.input(
          "%s has %d tokens for the reward model %s, whose context (max_position_embeddings) is %d"
              .formatted(place, row.length(), folder, context()));
    }
    return row;
  }

  private int[] ids(String place, int index, Example.Response response) {
    Encoded<TokenRow> encoded =
        encoder.encodeResponse(new RowOrigin(folder, 0, index), response, false);
    if (encoded instanceof Encoded.Kept<TokenRow> kept) {
      return kept.value().ids();
    }
    String reason =
        encoded instanceof Encoded.Bad<TokenRow> bad ? bad.reason() : "the text cannot be read";
    throw RlhfException.input(place + " cannot be scored by " + folder + ": " + reason);
  }

  @Override
  public void close() {
    model.close();
    if (tokenizer != null) {
      tokenizer.close();
    }
  }
}
