package org.rlhf4j.core.text;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/**
 * What a {@code tokenizer.model} of SentencePiece says, as far as text is split by it. Field
 * numbers are those of SentencePiece's {@code sentencepiece_model.proto}.
 *
 * @param algorithm how pieces are chosen
 * @param pieces the vocabulary, ids count from 0
 * @param byteFallback whether a character that no piece holds becomes its UTF-8 bytes
 * @param bos spelling of the token that begins a text; the vocabulary need not have it
 * @param eos likewise of the one that ends a text
 * @param pad likewise of the padding
 * @param unknownId the id for what no piece holds
 * @param normalization what happens to a text before it is split
 */
record SentencePieceModel(
    Algorithm algorithm,
    List<Piece> pieces,
    boolean byteFallback,
    String bos,
    String eos,
    String pad,
    int unknownId,
    Normalization normalization) {

  /** Larger than any published model; a larger file is none. */
  private static final long MAX_BYTES = 256L << 20;

  /** How pieces are chosen. */
  enum Algorithm {
    /** The pieces whose scores have the largest sum. */
    UNIGRAM,
    /** Neighbours merge, the pair whose joint piece has the highest score first. */
    BPE
  }

  /** What a piece is there for; the order is that of its number in the file. */
  enum PieceType {
    NORMAL,
    UNKNOWN,
    CONTROL,
    USER_DEFINED,
    UNUSED,
    BYTE
  }

  /** One entry of the vocabulary. */
  record Piece(String text, float score, PieceType type) {}

  /**
   * What happens to a text before it is split.
   *
   * @param charsMap replacements of characters; null for none
   * @param dummyPrefix whether a text gets a space in front
   * @param removesExtraSpaces whether spaces at both ends go and those in between become one
   */
  record Normalization(CharsMap charsMap, boolean dummyPrefix, boolean removesExtraSpaces) {}

  SentencePieceModel {
    pieces = List.copyOf(pieces);
  }

  /**
   * Reads a file.
   *
   * @throws RlhfException if it cannot be read, is corrupt, or asks for something that is not
   *     supported; the message names what
   */
  static SentencePieceModel read(Path file) {
    ByteBuffer content;
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw RlhfException.input(
            file + ": larger than " + (MAX_BYTES >> 20) + " MiB, no SentencePiece model");
      }
      content = ByteBuffer.wrap(Files.readAllBytes(file));
    } catch (IOException e) {
      throw RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
    }
    Reader reader = new Reader(file.toString());
    reader.read(content);
    return reader.checked();
  }

  /** The fields as they come, with the defaults of the proto file. */
  private static final class Reader {
    private final String file;
    private final List<Piece> pieces = new ArrayList<>();
    private int algorithm = 1;
    private boolean byteFallback;
    private boolean spaceAsSuffix;
    private String unknown = "<unk>";
    private String bos = "<s>";
    private String eos = "</s>";
    private String pad = "<pad>";
    private ByteBuffer charsMap = ByteBuffer.allocate(0);
    private boolean dummyPrefix = true;
    private boolean removesExtraSpaces = true;
    private boolean escapesSpaces = true;

    Reader(String file) {
      this.file = file;
    }

    void read(ByteBuffer content) {
      ProtobufReader message = new ProtobufReader(content, file);
      while (message.next()) {
        switch (message.field()) {
          case 1 -> readPiece(message.readBytes());
          case 2 -> readTrainerSpec(message.readBytes());
          case 3 -> readNormalizerSpec(message.readBytes());
          case 5 -> readDenormalizerSpec(message.readBytes());
          default -> message.skip();
        }
      }
    }

    private void readPiece(ByteBuffer content) {
      String place = file + ": piece " + pieces.size();
      ProtobufReader message = new ProtobufReader(content, place);
      String text = "";
      float score = 0;
      int type = 1;
      while (message.next()) {
        switch (message.field()) {
          case 1 -> text = message.readString();
          case 2 -> score = message.readFloat();
          case 3 -> type = message.readInt();
          default -> message.skip();
        }
      }
      if (text.isEmpty()) {
        throw RlhfException.input(place + " is empty");
      }
      if (!Float.isFinite(score)) {
        throw RlhfException.input(place + " has the score " + score);
      }
      if (type < 1 || type > PieceType.values().length) {
        throw RlhfException.input(place + " has the unknown type " + type);
      }
      pieces.add(new Piece(text, score, PieceType.values()[type - 1]));
    }

    private void readTrainerSpec(ByteBuffer content) {
      ProtobufReader message = new ProtobufReader(content, file + ": trainer_spec");
      while (message.next()) {
        switch (message.field()) {
          case 3 -> algorithm = message.readInt();
          case 24 -> spaceAsSuffix = message.readBoolean();
          case 35 -> byteFallback = message.readBoolean();
          case 45 -> unknown = message.readString();
          case 46 -> bos = message.readString();
          case 47 -> eos = message.readString();
          case 48 -> pad = message.readString();
          default -> message.skip();
        }
      }
    }

    private void readNormalizerSpec(ByteBuffer content) {
      ProtobufReader message = new ProtobufReader(content, file + ": normalizer_spec");
      while (message.next()) {
        switch (message.field()) {
          case 2 -> charsMap = message.readBytes();
          case 3 -> dummyPrefix = message.readBoolean();
          case 4 -> removesExtraSpaces = message.readBoolean();
          case 5 -> escapesSpaces = message.readBoolean();
          default -> message.skip();
        }
      }
    }

    private void readDenormalizerSpec(ByteBuffer content) {
      ProtobufReader message = new ProtobufReader(content, file + ": denormalizer_spec");
      while (message.next()) {
        if (message.field() == 2 && message.readBytes().hasRemaining()) {
          throw unsupported("denormalizer_spec with a precompiled_charsmap");
        } else if (message.field() != 2) {
          message.skip();
        }
      }
    }

    SentencePieceModel checked() {
      if (algorithm < 1 || algorithm > 2) {
        throw unsupported(
            "trainer_spec.model_type "
                + switch (algorithm) {
                  case 3 -> "WORD";
                  case 4 -> "CHAR";
                  default -> Integer.toString(algorithm);
                }
                + "; supported are UNIGRAM and BPE");
      }
      if (spaceAsSuffix) {
        throw unsupported("trainer_spec.treat_whitespace_as_suffix true");
      }
      if (!escapesSpaces) {
        throw unsupported("normalizer_spec.escape_whitespaces false");
      }
      int unknownId = checkPieces();
      CharsMap map =
          charsMap.hasRemaining()
              ? CharsMap.of(charsMap, file + ": normalizer_spec.precompiled_charsmap")
              : null;
      return new SentencePieceModel(
          Algorithm.values()[algorithm - 1],
          pieces,
          byteFallback,
          bos,
          eos,
          pad,
          unknownId,
          new Normalization(map, dummyPrefix, removesExtraSpaces));
    }

    /** The rules by which SentencePiece itself refuses a vocabulary; gives the id of unknown. */
    private int checkPieces() {
      if (pieces.isEmpty()) {
        throw RlhfException.input(file + ": holds no pieces, so it is no SentencePiece model");
      }
      Set<String> texts = new HashSet<>();
      Set<String> bytes = new HashSet<>();
      int unknownId = -1;
      for (int id = 0; id < pieces.size(); id++) {
        Piece piece = pieces.get(id);
        if (!texts.add(piece.text())) {
          throw RlhfException.input(
              file + ": piece " + id + " '" + piece.text() + "' is there twice");
        }
        switch (piece.type()) {
          case UNKNOWN -> {
            if (unknownId >= 0) {
              throw RlhfException.input(
                  file + ": two pieces stand for unknown, " + unknownId + " and " + id);
            }
            unknownId = id;
          }
          case BYTE -> {
            if (!piece.text().matches("<0x[0-9A-F]{2}>")) {
              throw RlhfException.input(
                  file + ": byte piece " + id + " must be like <0x0A>, found " + piece.text());
            }
            bytes.add(piece.text());
          }
          case UNUSED -> throw unsupported("piece " + id + " of type UNUSED");
          case NORMAL, CONTROL, USER_DEFINED -> {}
        }
      }
      if (unknownId < 0) {
        throw RlhfException.input(file + ": no piece stands for unknown (" + unknown + ")");
      }
      if (byteFallback && bytes.size() != 256) {
        throw RlhfException.input(
            file + ": byte_fallback needs 256 byte pieces, found " + bytes.size());
      }
      if (!byteFallback && !bytes.isEmpty()) {
        throw RlhfException.input(file + ": has byte pieces, but byte_fallback is off");
      }
      return unknownId;
    }

    private RlhfException unsupported(String what) {
      return RlhfException.input(file + ": not supported: " + what);
    }
  }
}
