package org.rlhf4j.core.data;

import java.util.Arrays;

/**
 * One document as token ids. There are no padding ids.
 *
 * @param ids the token ids, at least one
 * @param targets same length; {@code targets[t]} says that token t is predicted from those before
 *     it and scored. {@code targets[0]} is false: nothing stands before it
 */
public record TokenRow(int[] ids, boolean[] targets) {
  /** Checks the lengths and the first target. */
  public TokenRow {
    if (ids.length == 0 || ids.length != targets.length || targets[0]) {
      throw new IllegalArgumentException(
          "a row needs ids, as many targets, and no target at position 0; got "
              + ids.length
              + " ids, "
              + targets.length
              + " targets");
    }
  }

  /** A row in which all tokens but the first are targets. */
  public static TokenRow allTargets(int[] ids) {
    boolean[] targets = new boolean[ids.length];
    Arrays.fill(targets, 1, targets.length, true);
    return new TokenRow(ids, targets);
  }

  /** A row whose tokens from an index on are targets, for a response behind its prompt. */
  public static TokenRow targetsFrom(int[] ids, int firstTarget) {
    boolean[] targets = new boolean[ids.length];
    Arrays.fill(targets, Math.max(1, firstTarget), targets.length, true);
    return new TokenRow(ids, targets);
  }

  /** The number of tokens. */
  public int length() {
    return ids.length;
  }

  /** The position of the first target; the length where there is none. */
  public int firstTarget() {
    int first = 0;
    while (first < targets.length && !targets[first]) {
      first++;
    }
    return first;
  }

  /** The number of tokens that are predicted and scored. */
  public int targetCount() {
    int count = 0;
    for (boolean target : targets) {
      count += target ? 1 : 0;
    }
    return count;
  }
}
