package org.rlhf4j.core.checkpoint;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Zip archives put together by hand, right ones and wrong ones. */
final class ZipBytes {
  private static final int STORED = 0;
  private static final int DEFLATED = 8;

  private final ByteArrayOutputStream head = new ByteArrayOutputStream();
  private final ByteArrayOutputStream list = new ByteArrayOutputStream();
  private long position;
  private int count;

  /** Adds a stored entry. */
  ZipBytes entry(String name, byte[] content) {
    add(name, STORED, content.length, content.length);
    head.writeBytes(content);
    position += content.length;
    return this;
  }

  /** Adds an entry that claims to be so long when it is inflated. */
  ZipBytes deflated(String name, long length) {
    add(name, DEFLATED, 2, length);
    head.writeBytes(new byte[] {3, 0});
    position += 2;
    return this;
  }

  /**
   * Adds a last entry whose content the caller leaves out.
   *
   * @return where the content begins
   */
  long hole(String name, long length) {
    add(name, STORED, length, length);
    long begin = position;
    position += length;
    return begin;
  }

  private void add(String name, int method, long packed, long length) {
    byte[] text = name.getBytes(StandardCharsets.UTF_8);
    ByteBuffer entry = buffer(46 + text.length + 28);
    entry.putInt(0x02014b50).putShort((short) 45).putShort((short) 45).putShort((short) 0);
    entry.putShort((short) method).putInt(0).putInt(0);
    boolean wide = length > Integer.MAX_VALUE;
    entry.putInt(wide ? -1 : (int) packed).putInt(wide ? -1 : (int) length);
    entry.putShort((short) text.length).putShort((short) (wide ? 20 : 0)).putShort((short) 0);
    entry.putShort((short) 0).putShort((short) 0).putInt(0).putInt((int) position).put(text);
    if (wide) {
      entry.putShort((short) 1).putShort((short) 16).putLong(length).putLong(packed);
    }
    list.write(entry.array(), 0, entry.position());
    ByteBuffer local = buffer(30 + text.length);
    local.putInt(0x04034b50).position(26).putShort((short) text.length).putShort((short) 0);
    local.put(text);
    head.writeBytes(local.array());
    position += local.capacity();
    count++;
  }

  /** Everything before the directory. */
  byte[] head() {
    return head.toByteArray();
  }

  /** The directory and what is behind it, with 64-bit positions. */
  byte[] directory() {
    ByteBuffer end = buffer(list.size() + 56 + 20 + 22);
    end.put(list.toByteArray());
    if (position > Integer.MAX_VALUE) {
      long wideEnd = position + list.size();
      end.putInt(0x06064b50).putLong(44).putShort((short) 45).putShort((short) 45);
      end.putInt(0).putInt(0).putLong(count).putLong(count).putLong(list.size()).putLong(position);
      end.putInt(0x07064b50).putInt(0).putLong(wideEnd).putInt(1);
    }
    boolean wide = position > Integer.MAX_VALUE;
    end.putInt(0x06054b50).putInt(0).putShort((short) count).putShort((short) count);
    end.putInt(list.size()).putInt(wide ? -1 : (int) position).putShort((short) 0);
    byte[] bytes = new byte[end.position()];
    end.flip().get(bytes);
    return bytes;
  }

  /** The whole archive. */
  byte[] all() {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    all.writeBytes(head());
    all.writeBytes(directory());
    return all.toByteArray();
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
