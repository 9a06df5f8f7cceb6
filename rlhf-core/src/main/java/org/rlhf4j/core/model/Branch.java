package org.rlhf4j.core.model;

/**
 * A trained copy of a model's last blocks and last norm, beside the model: what a value network
 * reads is computed from the states that enter these blocks.
 *
 * @param decoder of which only these blocks are used; see {@link Decoder.Start}
 * @param weights that are trained
 * @param firstLayer the block that the copies begin with
 */
public record Branch(Decoder decoder, Weights weights, int firstLayer) implements AutoCloseable {
  @Override
  public void close() {
    decoder.close();
    weights.close();
  }
}
