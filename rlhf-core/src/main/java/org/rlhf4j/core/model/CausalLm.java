package org.rlhf4j.core.model;

import java.util.List;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Products;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/** A language model: decoder and language-model head on one set of weights. */
public final class CausalLm implements AutoCloseable {
  /** Parameters whose copies take 1 GiB. */
  private static final long MOST_COPIED = 1L << 28;

  private final Torch torch;
  private final WeightPlaces places;
  private final boolean ownsBase;
  private final Decoder decoder;
  private final LmHead head;

  /**
   * A model on weights, which it closes with itself.
   *
   * @param weights the trunk's, and the head's own where it is not tied
   */
  public CausalLm(Torch torch, DecoderSpec spec, Weights weights) {
    this(torch, spec, new WeightPlaces(weights, null), true);
  }

  /**
   * A model with or without an adapter, which it closes with itself.
   *
   * @param ownsBase whether it closes the other weights too; else they are another model's
   */
  CausalLm(Torch torch, DecoderSpec spec, WeightPlaces places, boolean ownsBase) {
    this.torch = torch;
    this.places = places;
    this.ownsBase = ownsBase;
    this.decoder = new Decoder(torch, spec, places);
    this.head = new LmHead(torch, spec.head(), places);
  }

  /** The parameters, those of an adapter aside; of a hydra's policy, the frozen ones. */
  public Weights weights() {
    return places.base();
  }

  /** The parameters as a checkpoint stores them, those of an adapter aside. */
  List<TensorSource> sources(StoredType stored) {
    return places.sources(stored);
  }

  WeightPlaces places() {
    return places;
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
  public LmHead head() {
    return head;
  }

  /** Where it runs. */
  public Torch torch() {
    return torch;
  }

  /**
   * Weights as decoding takes them.
   *
   * @param ofBlocks of all blocks
   * @param ofHead the head's matrix
   */
  public record DecodingWeights(List<Tensor> ofBlocks, Tensor ofHead) {}

  /**
   * The weights for decoding, to be made again after they have changed. Decoding meets every matrix
   * with a few rows only; where oneDNN computes, copies that it reads in order make that twice as
   * fast, unless they would take much memory.
   *
   * @param scope owns the copies
   */
  public DecodingWeights forDecoding(TensorScope scope) {
    boolean copies =
        torch.products() == Products.ONEDNN
            && weights().type() == ElementType.FP32
            && !decoder.spec().transposed()
            && size().total() <= MOST_COPIED;
    return new DecodingWeights(
        decoder.weightsForDecoding(scope, copies),
        head.weightForDecoding(scope, torch.ops(), copies));
  }

  /** Log-probabilities of a batch's targets. */
  public LmHead.Found logProbs(TokenBatch batch, boolean statistics) {
    try (TensorScope scope = torch.scope()) {
      Tensor hidden = decoder.forward(scope, batch, Recording.NONE).hidden();
      return head.logProbs(scope, hidden, batch.targets(), LmHead.Reading.plain(statistics));
    }
  }

  /** A loss of log-probabilities: plain Java, see {@code org.rlhf4j.core.train}. */
  @FunctionalInterface
  public interface Derivative {
    /**
     * d loss / d log-probability.
     *
     * @param logProbs of the batch's targets, {@code [targets]}; null where {@link #isConstant()}
     */
    float[] of(float[] logProbs);

    /** Whether the derivative does not depend on the log-probabilities; saves a pass. */
    default boolean isConstant() {
      return false;
    }
  }

  /**
   * Adds a batch's gradients.
   *
   * @param recording {@link Recording#FULL}, or {@link Recording#PER_BLOCK} to save memory
   * @param statistics whether accuracy and entropy are wanted too
   */
  public LmHead.Found addGradients(
      TokenBatch batch,
      Derivative derivative,
      Recording recording,
      Gradients into,
      boolean statistics) {
    try (TensorScope scope = torch.scope()) {
      Decoder.Pass pass = decoder.forward(scope, batch, recording);
      float[] ofLogProbs =
          derivative.isConstant()
              ? derivative.of(null)
              : derivative.of(
                  head.logProbs(scope, pass.hidden(), batch.targets(), LmHead.Reading.plain(false))
                      .logProbs());
      LmHead.WithGradient result =
          head.logProbsWithGradient(
              scope,
              new LmHead.Selected(pass.hidden(), batch.targets()),
              new LmHead.OfTargets(ofLogProbs),
              into,
              LmHead.Reading.plain(statistics));
      decoder.backward(scope, pass, result.ofHidden(), into);
      return result.found();
    }
  }

  @Override
  public void close() {
    head.close();
    decoder.close();
    if (adapter() != null) {
      adapter().close();
    }
    if (places.copies() != null) {
      places.copies().weights().close();
    }
    if (ownsBase) {
      weights().close();
    }
  }
}
