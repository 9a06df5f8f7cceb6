package org.rlhf4j.ppo;

import java.util.List;
import org.rlhf4j.core.model.EmbeddingTraining;

/**
 * Which version of trlX PPO follows to the number, with what that version does by mistake: so that
 * its published curves can be compared. All versions send responses through text, whiten each
 * mini-batch over its padding too, let the score and some KL fall on positions behind the response,
 * and train what stands behind the token embedding.
 */
public enum TrlxCompat {
  /** The clean form. */
  NONE,
  /** The last commit, 3340c2f. */
  HEAD,
  /**
   * As {@link #HEAD}, but: positions count padding; scores are scaled, then clipped; the prediction
   * of the first padding token is trained; the token embedding is trained; the controller gets the
   * mean over all tokens, prompts and padding included, after every mini-batch; EOS comes back only
   * into the longest responses of a chunk, or where the padding token is EOS.
   */
  V0_6_0,
  /**
   * As {@link #V0_6_0}, but: EOS is lost; one position less behind the response; the controller
   * gets the divergence of the last mini-batch from the roll-out's policy.
   */
  V0_5_0;

  /** Scores are clipped before they are counted and scaled, not after it. */
  boolean clipsFirst() {
    return this == HEAD;
  }

  /** Positions count real tokens only. */
  boolean skipsPadding() {
    return this == HEAD;
  }

  /** The mask of the loss is that of the token that predicts, not of the predicted one. */
  boolean trainsPadding() {
    return this != HEAD;
  }

  /** How many positions of a response are kept behind its real tokens, if there is room. */
  int extraPositions() {
    return this == V0_5_0 ? 1 : 2;
  }

  /** What is trained before the first block. */
  public EmbeddingTraining embeddings() {
    return switch (this) {
      case NONE -> EmbeddingTraining.NONE;
      case HEAD -> EmbeddingTraining.ALL_BUT_TOKENS;
      case V0_6_0, V0_5_0 -> EmbeddingTraining.ALL;
    };
  }

  /**
   * Whether each mini-batch is trained on as many times in a row as there are PPO epochs, and the
   * KL controller called behind it; else the epochs go over all of the roll-out, and the controller
   * is called once behind each.
   */
  public boolean repeatsMiniBatches() {
    return this == V0_6_0 || this == V0_5_0;
  }

  /**
   * The KL that the controller gets of a roll-out, in this version's units.
   *
   * @param chunks of the roll-out, in order
   * @return NaN for {@link #V0_5_0}, whose controller gets {@code policy/approx_kl} of the last
   *     mini-batch
   */
  public double measuredKl(List<TrlxExperience> chunks) {
    return switch (this) {
      case NONE -> throw new IllegalStateException("the clean form measures KL by its estimator");
      case HEAD -> {
        double root =
            chunks.stream().mapToDouble(c -> Math.sqrt(c.klOfResponse())).average().orElseThrow();
        yield root * root;
      }
      case V0_6_0 -> chunks.get(chunks.size() - 1).klOfToken();
      case V0_5_0 -> Double.NaN;
    };
  }

  @Override
  public String toString() {
    return switch (this) {
      case NONE -> "none";
      case HEAD -> "head";
      case V0_6_0 -> "v0.6.0";
      case V0_5_0 -> "v0.5.0";
    };
  }
}
