package org.rlhf4j.ppo.group;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * What the frozen blocks make of a roll-out, kept part by part through all its steps. They are
 * computed in batches that are a function of the rows: a resumed run computes them again, to the
 * same bits.
 */
final class GroupTrunk implements AutoCloseable {
  private final Torch torch;
  private final TensorScope scope;
  private final Map<Integer, Tensor> byPart = new ConcurrentHashMap<>();

  /** An empty one. */
  GroupTrunk(Torch torch) {
    this.torch = torch;
    this.scope = torch.scope();
  }

  /** Computes the states of all parts, as a roll-out does on its way. */
  void fill(GroupNetworks networks, GroupParts parts, int batchSize) {
    for (List<Integer> batch : parts.batches(parts.all(), batchSize)) {
      parts.sideBySide(
          torch,
          batch,
          some -> {
            try (TensorScope ofPart = torch.scope()) {
              keep(parts, some, networks.trunk(ofPart, parts.batch(some)));
            }
          });
    }
  }

  /**
   * Keeps the states of a batch.
   *
   * @param states the caller's; null where there are none
   */
  void keep(GroupParts parts, List<Integer> batch, Tensor states) {
    if (states != null) {
      Tensor[] split = torch.ops().splitRows(scope, states, parts.tokens(batch));
      for (int i = 0; i < split.length; i++) {
        byPart.put(batch.get(i), split[i]);
      }
    }
  }

  /** The states of a batch of these parts; null where none are kept. */
  Tensor of(TensorScope into, List<Integer> batch) {
    return byPart.isEmpty()
        ? null
        : torch.ops().joinRows(into, batch.stream().map(byPart::get).toList());
  }

  @Override
  public void close() {
    scope.close();
  }
}
