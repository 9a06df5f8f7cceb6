package org.rlhf4j.ppo.rollout;

/** Checks of array lengths: a mismatch is a mistake of the caller. */
public final class Lengths {
  private Lengths() {}

  /**
   * Lets only the expected length pass.
   *
   * @throws IllegalArgumentException naming the array and both lengths
   */
  public static void require(String what, int found, int expected) {
    if (found != expected) {
      throw new IllegalArgumentException("%d %s, expected %d".formatted(found, what, expected));
    }
  }
}
