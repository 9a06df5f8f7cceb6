package org.rlhf4j.core.generate;

/** Why a response ended. */
public enum FinishReason {
  /** The model emitted an end-of-sequence token, which is the response's last id. */
  EOS("eos"),
  /** A stop string appeared. */
  STOP("stop"),
  /** The token limit, or the model's context, was reached. */
  LENGTH("length");

  private final String label;

  FinishReason(String label) {
    this.label = label;
  }

  /** The value of {@code finish_reason} in files. */
  public String label() {
    return label;
  }
}
