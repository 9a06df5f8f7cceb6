package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;

/**
 * Where a trunk's weights stand among the parameters. Each list says for every place in a kernel's
 * list of weights how many neighbouring parameters it takes as one tensor, 0 for none.
 *
 * @param layers number of blocks
 * @param beforeBlocks parameters before those of {@code enter}: the embedding and learned places
 * @param enter before the blocks
 * @param block of each block
 * @param finish behind the blocks
 */
record TrunkLayout(
    int layers, int beforeBlocks, List<Integer> enter, List<Integer> block, List<Integer> finish) {

  /** The linear projections among a kernel's list of weights, in the order of their adapters. */
  private static final int[] OF_ENTER = {0};

  private static final int[] OF_BLOCK = {2, 6, 11, 13};
  private static final int[] OF_FINISH = {2};

  /**
   * A linear projection of one input.
   *
   * @param first the place of its first weight among the parameters; -1 where there is none
   * @param parts neighbouring weights that are computed as one matrix product
   */
  record Projection(int first, int parts) {}

  static TrunkLayout of(DecoderSpec spec) {
    AttentionSpec.Projections projections = spec.attention().projections();
    int bias = spec.norm().hasBias() ? 1 : 0;
    int qkv = projections.layout() == AttentionSpec.Layout.APART ? 3 : 1;
    int headNorm = projections.headNorms() ? 1 : 0;
    int around = spec.residual() == Residual.NORM_AROUND ? 1 : 0;
    int second = spec.residual().hasSecondNorm() ? 1 : 0;
    int up = spec.mlp().gate() == MlpSpec.Gate.APART ? 2 : 1;
    int mlpBias = spec.mlp().bias() ? 1 : 0;
    int projected = spec.isProjected() ? 1 : 0;
    int embeddingNorm = spec.embedding().norm() ? 1 : 0;
    int last = spec.norm().last() ? 1 : 0;
    return new TrunkLayout(
        spec.layers(),
        spec.positions() instanceof Positions.Learned ? 2 : 1,
        List.of(projected, embeddingNorm, embeddingNorm * bias),
        List.of(
            1,
            bias,
            qkv,
            projections.bias() ? qkv : 0,
            headNorm,
            headNorm,
            1,
            projections.outputBias() ? 1 : 0,
            around,
            second,
            second * bias,
            up,
            mlpBias * up,
            1,
            mlpBias,
            around),
        List.of(last, last * bias, projected));
  }

  /** The place of a block's first parameter; of the first behind the blocks for {@code layers}. */
  int blockAt(int layer) {
    return beforeBlocks + sum(enter) + layer * sum(block);
  }

  /** The number of the trunk's parameters. */
  int parameters() {
    return blockAt(layers) + sum(finish);
  }

  /** The projections before the blocks. */
  List<Projection> enterProjections() {
    return projections(beforeBlocks, enter, OF_ENTER);
  }

  /** The projections of a block: to queries, keys and values, from them, up and down. */
  List<Projection> blockProjections(int layer) {
    return projections(blockAt(layer), block, OF_BLOCK);
  }

  /** The projections behind the blocks. */
  List<Projection> finishProjections() {
    return projections(blockAt(layers), finish, OF_FINISH);
  }

  private static List<Projection> projections(int from, List<Integer> counts, int[] places) {
    List<Projection> found = new ArrayList<>();
    for (int place : places) {
      int parts = counts.get(place);
      int first = parts == 0 ? -1 : from + sum(counts.subList(0, place));
      found.add(new Projection(first, parts));
    }
    return found;
  }

  private static int sum(List<Integer> counts) {
    return counts.stream().mapToInt(Integer::intValue).sum();
  }
}
