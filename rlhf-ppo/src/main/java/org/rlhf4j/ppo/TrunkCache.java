package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * What the frozen blocks make of a roll-out's rows, kept through all its epochs. They are computed
 * in batches of rows of similar length, which are a function of the rows: a resumed run computes
 * them again, to the same bits.
 */
final class TrunkCache implements AutoCloseable {
  private final Torch torch;
  private final TensorScope scope;
  private final PpoNetworks.States[] byRow;

  /** An empty cache for so many rows. */
  TrunkCache(Torch torch, int rows) {
    this.torch = torch;
    this.scope = torch.scope();
    this.byRow = new PpoNetworks.States[rows];
  }

  /** The places of rows in batches of at most that many, short rows first. */
  static List<int[]> batches(List<TokenRow> rows, int batchSize) {
    Integer[] byLength = new Integer[rows.size()];
    Arrays.setAll(byLength, i -> i);
    Arrays.sort(byLength, Comparator.comparingInt(i -> rows.get(i).length()));
    List<int[]> batches = new ArrayList<>();
    for (int from = 0; from < byLength.length; from += batchSize) {
      int to = Math.min(byLength.length, from + batchSize);
      batches.add(Arrays.stream(byLength, from, to).mapToInt(Integer::intValue).toArray());
    }
    return batches;
  }

  /** Computes some rows of a batch: the rows, and their places. */
  interface Part<R> {
    List<R> compute(List<TokenRow> rows, int[] places);
  }

  /** Computes a batch, in pieces side by side where that is faster. */
  static <R> List<R> sideBySide(Torch torch, List<TokenRow> rows, int[] places, Part<R> part) {
    return torch.sideBySide(
        Arrays.stream(places).boxed().toList(),
        Arrays.stream(places).mapToLong(place -> rows.get(place).length()).sum(),
        some ->
            part.compute(
                some.stream().map(rows::get).toList(),
                some.stream().mapToInt(Integer::intValue).toArray()));
  }

  /** Computes the states of all rows, as a roll-out does on its way. */
  static TrunkCache of(Torch torch, PpoNetworks networks, List<TokenRow> rows, int batchSize) {
    TrunkCache cache = new TrunkCache(torch, rows.size());
    for (int[] places : batches(rows, batchSize)) {
      sideBySide(
          torch,
          rows,
          places,
          (part, some) -> {
            try (TensorScope ofPart = torch.scope()) {
              cache.keep(some, part, networks.states(ofPart, TokenBatch.ofTargets(part)));
            }
            return part;
          });
    }
    return cache;
  }

  /**
   * Keeps the states of a batch.
   *
   * @param places of its rows
   * @param rows in the batch's order
   * @param states of the whole batch, the caller's
   */
  void keep(int[] places, List<TokenRow> rows, PpoNetworks.States states) {
    int[] lengths = rows.stream().mapToInt(TokenRow::length).toArray();
    List<PpoNetworks.States> split = states.split(torch, scope, lengths);
    for (int i = 0; i < places.length; i++) {
      byRow[places[i]] = split.get(i);
    }
  }

  /** The states of a batch of these rows, in this order. */
  PpoNetworks.States of(TensorScope into, int[] places) {
    return PpoNetworks.States.join(
        torch, into, Arrays.stream(places).mapToObj(place -> byRow[place]).toList());
  }

  @Override
  public void close() {
    scope.close();
  }
}
