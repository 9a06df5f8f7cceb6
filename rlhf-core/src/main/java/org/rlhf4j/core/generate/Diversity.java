package org.rlhf4j.core.generate;

import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** How much a model's responses differ. */
public final class Diversity {
  private Diversity() {}

  /**
   * Different pairs of neighbouring tokens over all such pairs (Li et al., 2016); 0 where no
   * response has two tokens.
   */
  public static double distinct2(List<int[]> responses) {
    Set<Long> different = new HashSet<>();
    long all = 0;
    for (int[] ids : responses) {
      for (int i = 1; i < ids.length; i++) {
        different.add((long) ids[i - 1] << Integer.SIZE | ids[i]);
        all++;
      }
    }
    return all == 0 ? 0 : (double) different.size() / all;
  }
}
