package org.rlhf4j.core.model;

/** How a block puts attention and MLP on the residual stream {@code h}. */
public enum Residual {
  /** {@code m = h + attention(norm(h)); m + mlp(norm(m))}. */
  NORM_BEFORE,
  /** {@code m = norm(h + attention(h)); norm(m + mlp(m))}. */
  NORM_AFTER,
  /** {@code m = h + norm(attention(norm(h))); m + norm(mlp(norm(m)))}: four norms. */
  NORM_AROUND,
  /** {@code h + attention(norm1(h)) + mlp(norm2(h))}. */
  PARALLEL,
  /** {@code h + attention(norm(h)) + mlp(norm(h))}: one norm. */
  PARALLEL_ONE_NORM;

  /** Whether the MLP has a norm of its own. */
  boolean hasSecondNorm() {
    return this != PARALLEL_ONE_NORM;
  }
}
