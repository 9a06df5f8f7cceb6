package org.rlhf4j.core.text;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.rlhf4j.core.RlhfException;

/**
 * Walks through the fields of one protobuf message. It knows the wire format only; which field is
 * what stands with the caller, who reads or {@linkplain #skip() skips} each one.
 *
 * <p>Whatever does not follow the format is an {@link RlhfException} that names the origin and the
 * field.
 */
final class ProtobufReader {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;

  private final String origin;
  private final ByteBuffer content;
  private int field;
  private int wireType;

  /**
   * @param content the whole message
   * @param origin file and place, for messages
   */
  ProtobufReader(ByteBuffer content, String origin) {
    this.content = content.slice().order(ByteOrder.LITTLE_ENDIAN);
    this.origin = origin;
  }

  /** Goes to the next field; false at the end of the message. */
  boolean next() {
    if (!content.hasRemaining()) {
      return false;
    }
    long tag = varint();
    field = (int) (tag >>> 3);
    wireType = (int) (tag & 7);
    if (tag >>> 3 == 0 || tag >>> 3 > 0x1FFFFFFF) {
      throw corrupt("a field has the impossible number " + (tag >>> 3));
    }
    return true;
  }

  /** The number of the field. */
  int field() {
    return field;
  }

  /** The value of an enum or a 32-bit integer. */
  int readInt() {
    requireType(VARINT);
    return (int) varint();
  }

  boolean readBoolean() {
    requireType(VARINT);
    return varint() != 0;
  }

  float readFloat() {
    requireType(FIXED32);
    requireRemaining(Float.BYTES);
    return content.getFloat();
  }

  /** The bytes of a byte field or an inner message: a view, no copy. */
  ByteBuffer readBytes() {
    requireType(BYTES);
    long length = varint();
    requireRemaining(length);
    ByteBuffer bytes = content.slice(content.position(), (int) length);
    content.position(content.position() + (int) length);
    return bytes;
  }

  String readString() {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(readBytes()).toString();
    } catch (CharacterCodingException e) {
      throw RlhfException.input(origin + ": field " + field + " is not UTF-8", e);
    }
  }

  /** Passes over the field. */
  void skip() {
    switch (wireType) {
      case VARINT -> varint();
      case FIXED64 -> skipBytes(Long.BYTES);
      case BYTES -> readBytes();
      case FIXED32 -> skipBytes(Float.BYTES);
      default -> throw corrupt("field " + field + " has the unknown wire type " + wireType);
    }
  }

  private void skipBytes(int length) {
    requireRemaining(length);
    content.position(content.position() + length);
  }

  private long varint() {
    long value = 0;
    for (int shift = 0; shift < Long.SIZE; shift += 7) {
      requireRemaining(1);
      byte next = content.get();
      value |= (long) (next & 0x7F) << shift;
      if (next >= 0) {
        return value;
      }
    }
    throw corrupt("a number is longer than 64 bits");
  }

  private void requireType(int expected) {
    if (wireType != expected) {
      throw corrupt(
          "field " + field + " has wire type " + wireType + ", " + expected + " is expected");
    }
  }

  private void requireRemaining(long length) {
    if (length < 0 || length > content.remaining()) {
      throw corrupt("cut off in field " + field);
    }
  }

  private RlhfException corrupt(String what) {
    return RlhfException.input(origin + ": no valid protobuf: " + what);
  }
}
