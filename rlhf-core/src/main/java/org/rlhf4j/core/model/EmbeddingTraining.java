package org.rlhf4j.core.model;

/** What of a hydra's policy is trained below its frozen blocks; see {@link ModelLoader#hydra}. */
public enum EmbeddingTraining {
  /**
   * Nothing: the trunk stays as it is, and a head that is tied to the embedding becomes a trained
   * copy of it.
   */
  NONE,
  /**
   * Learned places, projection and norm behind the token embedding, as in trlX since v0.7. So the
   * trunk that policy and reference share can move; a tied head is frozen with the embedding.
   */
  ALL_BUT_TOKENS,
  /**
   * All that stands before the first block, as in trlX until v0.6. So the trunk moves; a tied head
   * is trained with the embedding.
   */
  ALL
}
