package org.rlhf4j.ppo.group;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.torch.Torch;

/**
 * The responses of a roll-out in parts that are always computed together: a group, or where that is
 * more than may be computed side by side, some of a group. So the prompt of a part is computed
 * once, and what the frozen blocks make of it can be kept.
 *
 * @param rows of the roll-out, group after group
 * @param partsOfGroup how many parts each group has
 * @param places of each part's rows, group after group
 */
record GroupParts(List<TokenRow> rows, int partsOfGroup, List<int[]> places) {

  /**
   * Cuts groups into parts of equal size.
   *
   * @param responses of each group
   * @param most rows of a part
   */
  static GroupParts of(List<TokenRow> rows, int responses, int most) {
    int parts = (responses + most - 1) / most;
    List<int[]> places = new ArrayList<>();
    for (int from = 0; from < rows.size(); from += responses) {
      Integer[] byLength = new Integer[responses];
      int first = from;
      Arrays.setAll(byLength, i -> first + i);
      // Rows of one length are one matrix product of attention.
      Arrays.sort(byLength, Comparator.comparingInt(place -> rows.get(place).length()));
      for (int part = 0; part < parts; part++) {
        places.add(
            Arrays.stream(byLength, responses * part / parts, responses * (part + 1) / parts)
                .mapToInt(Integer::intValue)
                .toArray());
      }
    }
    return new GroupParts(rows, parts, places);
  }

  /** The numbers of all parts. */
  List<Integer> all() {
    List<Integer> all = new ArrayList<>();
    for (int part = 0; part < places.size(); part++) {
      all.add(part);
    }
    return all;
  }

  /** The numbers of the parts of some groups. */
  List<Integer> of(int[] groups) {
    List<Integer> parts = new ArrayList<>();
    for (int group : groups) {
      for (int part = 0; part < partsOfGroup; part++) {
        parts.add(group * partsOfGroup + part);
      }
    }
    return parts;
  }

  /** Parts together, so that at most that many rows are computed side by side. */
  List<List<Integer>> batches(List<Integer> parts, int most) {
    List<List<Integer>> batches = new ArrayList<>();
    int count = most;
    for (int part : parts) {
      int size = places.get(part).length;
      if (count + size > most) {
        batches.add(new ArrayList<>());
        count = 0;
      }
      batches.get(batches.size() - 1).add(part);
      count += size;
    }
    return batches;
  }

  /** Computes a batch of parts, in pieces side by side where that is faster. */
  void sideBySide(Torch torch, List<Integer> batch, Consumer<List<Integer>> work) {
    torch.sideBySide(
        batch,
        batch.stream().mapToLong(part -> batch(List.of(part)).tokens()).sum(),
        some -> {
          work.accept(some);
          return some;
        });
  }

  /** The places of the rows of some parts, in the order of {@link #batch}. */
  int[] placesOf(List<Integer> parts) {
    return parts.stream().flatMapToInt(part -> Arrays.stream(places.get(part))).toArray();
  }

  /** Some parts, the prompt of each computed once. */
  TokenBatch batch(List<Integer> parts) {
    return TokenBatch.ofGroups(parts.stream().map(this::rowsOf).toList());
  }

  private List<TokenRow> rowsOf(int part) {
    return Arrays.stream(places.get(part)).mapToObj(rows::get).toList();
  }

  /** How many tokens of a batch each of its parts is. */
  long[] tokens(List<Integer> parts) {
    return parts.stream().mapToLong(part -> batch(List.of(part)).tokens()).toArray();
  }
}
