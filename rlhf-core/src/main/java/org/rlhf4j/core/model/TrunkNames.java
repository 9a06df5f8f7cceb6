package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;

/**
 * Hugging Face's names for the parameters of a trunk, each without its {@code .weight} or {@code
 * .bias}; null or empty for what a family never has. Which of them a model has, and their shapes,
 * follow from its {@link DecoderSpec}.
 *
 * @param embedding of tokens
 * @param places of learned positions
 * @param projectIn from the embedding's width to the residual stream's
 * @param embeddingNorm behind the embedding
 * @param blocks what a block's number is put behind, with its last dot
 * @param block names inside a block
 * @param lastNorm behind the last block
 * @param projectOut from the residual stream's width to the embedding's
 */
record TrunkNames(
    String embedding,
    String places,
    String projectIn,
    String embeddingNorm,
    String blocks,
    Block block,
    String lastNorm,
    String projectOut) {

  /** A trunk with an embedding, blocks and a last norm. */
  static TrunkNames plain(String embedding, String blocks, Block block, String lastNorm) {
    return new TrunkNames(embedding, null, null, null, blocks, block, lastNorm, null);
  }

  /**
   * Names inside a block.
   *
   * @param norm of attention
   * @param queryKeyValue one name or three
   * @param headNorms of queries and keys
   * @param output projection of attention
   * @param normBehind the output projection
   * @param mlpNorm of the MLP
   * @param up gate and up, or up alone, or both in one
   * @param down projection of the MLP
   * @param mlpNormBehind the down projection
   */
  record Block(
      String norm,
      List<String> queryKeyValue,
      List<String> headNorms,
      String output,
      String normBehind,
      String mlpNorm,
      List<String> up,
      String down,
      String mlpNormBehind) {}

  /** The parameters in the order in which {@link Decoder} takes them. */
  List<ParameterSpec> parameters(DecoderSpec spec) {
    Listing listing = new Listing(spec, new ArrayList<>());
    int hidden = spec.hiddenSize();
    int width = spec.embedding().width();
    listing.matrix(embedding, spec.vocabularySize(), width);
    if (spec.positions() instanceof Positions.Learned learned) {
      listing.matrix(places, spec.maxPositions() + learned.offset(), hidden);
    }
    if (spec.isProjected()) {
      listing.matrix(projectIn, hidden, width);
    }
    if (spec.embedding().norm()) {
      listing.norm(embeddingNorm);
    }
    for (int layer = 0; layer < spec.layers(); layer++) {
      listing.block(blocks + layer + ".", block);
    }
    if (spec.norm().last()) {
      listing.norm(lastNorm);
    }
    if (spec.isProjected()) {
      listing.matrix(projectOut, width, hidden);
    }
    return List.copyOf(listing.parameters());
  }

  private record Listing(DecoderSpec spec, List<ParameterSpec> parameters) {

    void block(String prefix, Block names) {
      AttentionSpec attention = spec.attention();
      AttentionSpec.Projections projections = attention.projections();
      int hidden = spec.hiddenSize();
      norm(prefix + names.norm());
      projections(prefix, names.queryKeyValue(), queryKeyValueRows(), hidden, projections.bias());
      if (projections.headNorms()) {
        for (String name : names.headNorms()) {
          parameters.add(ParameterSpec.undecayed(prefix + name + ".weight", attention.headDim()));
        }
      }
      projections(
          prefix,
          List.of(names.output()),
          List.of(hidden),
          attention.width(),
          projections.outputBias());
      if (spec.residual() == Residual.NORM_AROUND) {
        norm(prefix + names.normBehind());
      }
      if (spec.residual().hasSecondNorm()) {
        norm(prefix + names.mlpNorm());
      }
      MlpSpec mlp = spec.mlp();
      List<Integer> upRows =
          switch (mlp.gate()) {
            case NONE -> List.of(mlp.width());
            case APART -> List.of(mlp.width(), mlp.width());
            case STACKED -> List.of(2 * mlp.width());
          };
      projections(prefix, names.up(), upRows, hidden, mlp.bias());
      projections(prefix, List.of(names.down()), List.of(hidden), mlp.width(), mlp.bias());
      if (spec.residual() == Residual.NORM_AROUND) {
        norm(prefix + names.mlpNormBehind());
      }
    }

    private List<Integer> queryKeyValueRows() {
      AttentionSpec attention = spec.attention();
      int keys = attention.keyWidth();
      return attention.projections().layout() == AttentionSpec.Layout.APART
          ? List.of(attention.width(), keys, keys)
          : List.of(attention.width() + 2 * keys);
    }

    private void projections(
        String prefix, List<String> names, List<Integer> rows, int columns, boolean bias) {
      for (int i = 0; i < names.size(); i++) {
        if (spec.transposed()) {
          matrix(prefix + names.get(i), columns, rows.get(i));
        } else {
          matrix(prefix + names.get(i), rows.get(i), columns);
        }
      }
      if (bias) {
        for (int i = 0; i < names.size(); i++) {
          parameters.add(ParameterSpec.undecayed(prefix + names.get(i) + ".bias", rows.get(i)));
        }
      }
    }

    void matrix(String name, long rows, long columns) {
      parameters.add(ParameterSpec.weight(name + ".weight", rows, columns));
    }

    void norm(String name) {
      parameters.add(ParameterSpec.undecayed(name + ".weight", spec.hiddenSize()));
      if (spec.norm().hasBias()) {
        parameters.add(ParameterSpec.undecayed(name + ".bias", spec.hiddenSize()));
      }
    }
  }
}
