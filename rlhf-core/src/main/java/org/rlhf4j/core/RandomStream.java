package org.rlhf4j.core;

/** What a random number is for. Streams of one seed are independent of each other. */
public enum RandomStream {
  /** The order of the training rows within an epoch. */
  DATA_ORDER(1),
  /** The order in which prompts are visited. */
  PROMPT_ORDER(2),
  /** The uniforms that pick sampled tokens. */
  SAMPLING(3),
  /** Fresh output heads. */
  HEAD_INIT(4),
  /** Fresh adapter weights. */
  ADAPTER_INIT(5),
  /** Label noise and other noise added on purpose. */
  NOISE(6),
  /** Everything a caller of the library draws for itself. */
  USER(7),
  /** What is dropped out of the inputs of adapters. */
  DROPOUT(8);

  private final int id;

  RandomStream(int id) {
    this.id = id;
  }

  /** A number that never changes for a stream, so that stored runs can be repeated. */
  public int id() {
    return id;
  }
}
