package org.rlhf4j.core.testing;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Writes a tokenizer.model field by field. Numbers are those of sentencepiece_model.proto. */
public final class SentencePieceBytes {
  public static final int NORMAL = 1;
  public static final int UNKNOWN = 2;
  public static final int CONTROL = 3;
  public static final int USER_DEFINED = 4;
  public static final int UNUSED = 5;
  public static final int BYTE = 6;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /** {@code <unk>}, {@code <s>}, {@code </s>} as pieces 0, 1, 2 of a BPE model. */
  public static SentencePieceBytes bpe() {
    SentencePieceBytes model = new SentencePieceBytes().piece("<unk>", 0, UNKNOWN);
    model.piece("<s>", 0, CONTROL).piece("</s>", 0, CONTROL);
    return model.message(2, new SentencePieceBytes().number(3, 2));
  }

  public SentencePieceBytes piece(String text, float score, int type) {
    SentencePieceBytes piece = new SentencePieceBytes();
    piece.bytes(1, text.getBytes(StandardCharsets.UTF_8));
    piece.out.write(2 << 3 | 5);
    byte[] bits = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(score).array();
    piece.out.writeBytes(bits);
    return message(1, piece.number(3, type));
  }

  public SentencePieceBytes number(int field, long value) {
    varint((long) field << 3);
    varint(value);
    return this;
  }

  public SentencePieceBytes message(int field, SentencePieceBytes content) {
    return bytes(field, content.toBytes());
  }

  public SentencePieceBytes bytes(int field, byte[] content) {
    varint((long) field << 3 | 2);
    varint(content.length);
    out.writeBytes(content);
    return this;
  }

  private void varint(long value) {
    long rest = value;
    while ((rest & ~0x7FL) != 0) {
      out.write((int) (rest & 0x7F | 0x80));
      rest >>>= 7;
    }
    out.write((int) rest);
  }

  public byte[] toBytes() {
    return out.toByteArray();
  }
}
