package org.rlhf4j.core.model;

import java.util.function.UnaryOperator;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/** A reward model: decoder and score head on one set of weights. */
public final class RewardModel implements AutoCloseable {
  private final Torch torch;
  private final WeightPlaces places;
  private final Decoder decoder;
  private final ScoreHead head;

  /**
   * A model on weights, which it closes with itself.
   *
   * @param weights the trunk's and, last, the head's {@code [1, hidden]}
   */
  public RewardModel(Torch torch, DecoderSpec spec, Weights weights) {
    this(torch, spec, new WeightPlaces(weights, null));
  }

  RewardModel(Torch torch, DecoderSpec spec, WeightPlaces places) {
    this.torch = torch;
    this.places = places;
    this.decoder = new Decoder(torch, spec, places);
    this.head = new ScoreHead(torch, places, places.base().parameters().size() - 1);
  }

  /** The parameters, those of an adapter aside. */
  public Weights weights() {
    return places.base();
  }

  /** The adapter; null for a model without. */
  public Adapter adapter() {
    return places.adapter();
  }

  /** The parameters that training changes: the adapter's where there is one, else all. */
  public Weights trained() {
    return places.trained();
  }

  /** How many parameters it has. */
  public ModelSize size() {
    return places.size();
  }

  /** Names the step whose gradients are added next; what an adapter drops out depends on it. */
  public void startStep(long step) {
    if (adapter() != null) {
      adapter().startStep(step);
    }
  }

  /** The trunk. */
  public Decoder decoder() {
    return decoder;
  }

  /** The head. */
  public ScoreHead head() {
    return head;
  }

  /** Where it runs. */
  public Torch torch() {
    return torch;
  }

  /** Scores of a batch's selected positions, {@code [rows]}. */
  public float[] scores(TokenBatch batch) {
    try (TensorScope scope = torch.scope()) {
      return head.scores(scope, decoder.forward(scope, batch, Recording.NONE).hidden());
    }
  }

  /**
   * Adds a batch's gradients.
   *
   * @param derivative from scores {@code [rows]} to d loss / d score {@code [rows]}
   * @return the scores
   */
  public float[] addGradients(
      TokenBatch batch, UnaryOperator<float[]> derivative, Recording recording, Gradients into) {
    try (TensorScope scope = torch.scope()) {
      Decoder.Pass pass = decoder.forward(scope, batch, recording);
      float[] scores = head.scores(scope, pass.hidden());
      Tensor ofHidden = head.backward(scope, pass.hidden(), derivative.apply(scores), into);
      decoder.backward(scope, pass, ofHidden, into);
      return scores;
    }
  }

  @Override
  public void close() {
    head.close();
    decoder.close();
    if (adapter() != null) {
      adapter().close();
    }
    weights().close();
  }
}
