package org.rlhf4j.core.text;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.text.SentencePieceModel.Algorithm;
import org.rlhf4j.core.text.SentencePieceModel.Piece;
import org.rlhf4j.core.text.SentencePieceModel.PieceType;

/**
 * Writes a SentencePiece model as the content of a {@code tokenizer.json} that splits a normalized
 * text into the same pieces. Normalizing is left to {@link SentencePieceNormalizer}.
 *
 * <p>Of pairs whose joint pieces have one score, SentencePiece merges the leftmost, which a list of
 * merges cannot say. Such a model gets no merges: {@link SentencePieceMerger} splits the text, and
 * the engine takes each part as a whole.
 *
 * <p>Of unigram splits with one sum, such as the same pieces in another order, SentencePiece takes
 * the one that its sums in single precision favour, the engine the one that it finds first.
 */
final class SentencePieceConverter {
  private static final String SPACE = Character.toString(SentencePieceNormalizer.SPACE);

  private SentencePieceConverter() {}

  /** The tokenizer, without a post-processor. */
  static ObjectNode convert(SentencePieceModel model) {
    ObjectNode tokenizer = JsonNodeFactory.instance.objectNode();
    tokenizer.put("version", "1.0").putNull("truncation").putNull("padding");
    ArrayNode added = tokenizer.putArray("added_tokens");
    List<Piece> pieces = model.pieces();
    for (int id = 0; id < pieces.size(); id++) {
      switch (pieces.get(id).type()) {
        case CONTROL, UNKNOWN -> addToken(added, id, pieces.get(id).text(), true);
        case USER_DEFINED -> {
          // The unigram algorithm weighs them like other pieces.
          if (model.algorithm() == Algorithm.BPE) {
            addToken(added, id, pieces.get(id).text(), false);
          }
        }
        case NORMAL, BYTE, UNUSED -> {}
      }
    }
    tokenizer.putNull("normalizer").putNull("pre_tokenizer").putNull("post_processor");
    writeDecoder(tokenizer.putObject("decoder"), model);
    ObjectNode target = tokenizer.putObject("model");
    if (model.algorithm() == Algorithm.BPE) {
      writeBpe(target, model);
    } else {
      writeUnigram(target, model);
    }
    return tokenizer;
  }

  /** Appends an entry to {@code added_tokens}. */
  static ObjectNode addToken(ArrayNode added, int id, String content, boolean special) {
    return added
        .addObject()
        .put("id", id)
        .put("content", content)
        .put("single_word", false)
        .put("lstrip", false)
        .put("rstrip", false)
        .put("normalized", false)
        .put("special", special);
  }

  private static void writeDecoder(ObjectNode decoder, SentencePieceModel model) {
    ArrayNode steps = decoder.put("type", "Sequence").putArray("decoders");
    ObjectNode spaces = steps.addObject().put("type", "Replace").put("content", " ");
    spaces.putObject("pattern").put("String", SPACE);
    steps.addObject().put("type", "ByteFallback");
    steps.addObject().put("type", "Fuse");
    if (model.normalization().dummyPrefix() || model.normalization().removesExtraSpaces()) {
      steps.addObject().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0);
    }
  }

  private static void writeBpe(ObjectNode target, SentencePieceModel model) {
    target.put("type", "BPE").putNull("dropout");
    target.put("unk_token", model.pieces().get(model.unknownId()).text());
    target.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
    target.put("fuse_unk", true).put("byte_fallback", model.byteFallback());
    boolean split = SentencePieceMerger.isNeeded(model);
    target.put("ignore_merges", split);
    ObjectNode vocabulary = target.putObject("vocab");
    for (int id = 0; id < model.pieces().size(); id++) {
      vocabulary.put(model.pieces().get(id).text(), id);
    }
    ArrayNode merges = target.putArray("merges");
    if (!split) {
      merges(model).forEach(merge -> merges.addArray().add(merge.left()).add(merge.right()));
    }
  }

  private record Merge(String left, String right, float score) {}

  /** All ways in which a piece is made of two others, the piece of the highest score first. */
  private static List<Merge> merges(SentencePieceModel model) {
    Map<String, Piece> mergeable = new HashMap<>();
    for (Piece piece : model.pieces()) {
      if (piece.type() == PieceType.NORMAL) {
        mergeable.put(piece.text(), piece);
      }
    }
    List<Merge> merges = new ArrayList<>();
    for (Piece piece : model.pieces()) {
      String text = piece.text();
      if (piece.type() != PieceType.NORMAL) {
        continue;
      }
      for (int i = 1; i < text.length(); i++) {
        String left = text.substring(0, i);
        String right = text.substring(i);
        if (mergeable.containsKey(left) && mergeable.containsKey(right)) {
          merges.add(new Merge(left, right, piece.score()));
        }
      }
    }
    merges.sort(Comparator.comparingDouble((Merge merge) -> -merge.score()));
    return merges;
  }

  private static void writeUnigram(ObjectNode target, SentencePieceModel model) {
    target.put("type", "Unigram").put("unk_id", model.unknownId());
    target.put("byte_fallback", model.byteFallback());
    ArrayNode vocabulary = target.putArray("vocab");
    for (Piece piece : model.pieces()) {
      // Normal pieces have logarithms of probabilities, so that 0 lets a piece that users defined
      // win. No text leads to the other kinds; a low score would make unknown characters dearer.
      double score = piece.type() == PieceType.NORMAL ? piece.score() : 0;
      vocabulary.addArray().add(piece.text()).add(score);
    }
  }
}
