package org.rlhf4j.core.checkpoint;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.rlhf4j.core.RlhfException;

/**
 * Where the entries of a zip archive lie in its file. Only stored entries are taken, as PyTorch
 * writes them: nothing is ever inflated, so no archive can unpack to more than its own size. The
 * JDK's reader does not tell where an entry's bytes begin.
 *
 * @param entries by name, in the directory's order
 * @see <a href="https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT">The format</a>
 */
record StoredZip(Map<String, Entry> entries) {
  private static final int LOCAL_SIGNATURE = 0x04034b50;
  private static final int ENTRY_SIGNATURE = 0x02014b50;
  private static final int END_SIGNATURE = 0x06054b50;
  private static final int WIDE_END_SIGNATURE = 0x06064b50;
  private static final int WIDE_LOCATOR_SIGNATURE = 0x07064b50;

  private static final int LOCAL_BYTES = 30;
  private static final int ENTRY_BYTES = 46;
  private static final int END_BYTES = 22;
  private static final int WIDE_END_BYTES = 56;
  private static final int WIDE_LOCATOR_BYTES = 20;
  private static final int LONGEST_COMMENT = 0xffff;

  /** A model of a hundred thousand tensors has a directory of 10 MB. */
  private static final long LONGEST_DIRECTORY = 1 << 26;

  private static final int WIDE_FIELD = 1;
  private static final long ELSEWHERE = 0xffffffffL;

  /**
   * An entry's content.
   *
   * @param begin its first byte in the file
   * @param length in bytes
   */
  record Entry(long begin, long length) {}

  private record Directory(long begin, long length) {}

  /**
   * Reads the directory of an archive.
   *
   * @throws RlhfException when it is damaged, or an entry is compressed, encrypted, there twice or
   *     not within the file
   */
  static StoredZip read(FileBytes file) {
    Directory directory = directory(file);
    ByteBuffer list = file.read(directory.begin(), (int) directory.length());
    Map<String, Entry> entries = new LinkedHashMap<>();
    while (list.hasRemaining()) {
      requireRoom(file.path(), list, ENTRY_BYTES);
      int at = list.position();
      int nameLength = Short.toUnsignedInt(list.getShort(at + 28));
      int extraLength = Short.toUnsignedInt(list.getShort(at + 30));
      int commentLength = Short.toUnsignedInt(list.getShort(at + 32));
      if (list.getInt(at) != ENTRY_SIGNATURE) {
        throw damaged(file.path(), "an entry of its directory has no signature");
      }
      requireRoom(file.path(), list, ENTRY_BYTES + nameLength + extraLength + commentLength);
      byte[] nameBytes = new byte[nameLength];
      list.get(at + ENTRY_BYTES, nameBytes);
      String name = new String(nameBytes, StandardCharsets.UTF_8);
      String place = file.path() + ": entry " + Printable.of(name);
      ByteBuffer extra = list.slice(at + ENTRY_BYTES + nameLength, extraLength).order(list.order());
      Entry entry = entry(place, file, list.slice(at, ENTRY_BYTES).order(list.order()), extra);
      if (entry.begin() + entry.length() > directory.begin()) {
        throw RlhfException.input(place + " reaches into the archive's directory; it is damaged");
      }
      if (entries.put(name, entry) != null) {
        throw RlhfException.input(place + " is there twice");
      }
      list.position(at + ENTRY_BYTES + nameLength + extraLength + commentLength);
    }
    return new StoredZip(entries);
  }

  private static Directory directory(FileBytes file) {
    int tail = (int) Math.min(file.size(), END_BYTES + LONGEST_COMMENT);
    long tailBegin = file.size() - tail;
    ByteBuffer bytes = file.read(tailBegin, tail);
    int end = tail - END_BYTES;
    while (end >= 0 && bytes.getInt(end) != END_SIGNATURE) {
      end--;
    }
    if (end < 0) {
      throw damaged(file.path(), "it has no end; it is cut short");
    }
    long length = Integer.toUnsignedLong(bytes.getInt(end + 12));
    long begin = Integer.toUnsignedLong(bytes.getInt(end + 16));
    int locator = end - WIDE_LOCATOR_BYTES;
    if (locator >= 0 && bytes.getInt(locator) == WIDE_LOCATOR_SIGNATURE) {
      long wideEnd = bytes.getLong(locator + 8);
      if (wideEnd < 0 || wideEnd > file.size() - WIDE_END_BYTES) {
        throw damaged(file.path(), "its end lies outside the file");
      }
      ByteBuffer wide = file.read(wideEnd, WIDE_END_BYTES);
      if (wide.getInt(0) != WIDE_END_SIGNATURE) {
        throw damaged(file.path(), "its end has no signature");
      }
      length = wide.getLong(40);
      begin = wide.getLong(48);
    }
    if (begin < 0 || length < 0 || begin > file.size() || length > file.size() - begin) {
      throw damaged(file.path(), "its directory lies outside the file");
    }
    if (length > LONGEST_DIRECTORY) {
      throw damaged(
          file.path(), "its directory has " + length + " bytes, allowed " + LONGEST_DIRECTORY);
    }
    return new Directory(begin, length);
  }

  private static Entry entry(String place, FileBytes file, ByteBuffer header, ByteBuffer extra) {
    int flags = header.getShort(8);
    int method = Short.toUnsignedInt(header.getShort(10));
    long packed = Integer.toUnsignedLong(header.getInt(20));
    long length = Integer.toUnsignedLong(header.getInt(24));
    long local = Integer.toUnsignedLong(header.getInt(42));
    ByteBuffer wide = wideField(extra);
    length = length == ELSEWHERE ? next(place, wide) : length;
    packed = packed == ELSEWHERE ? next(place, wide) : packed;
    local = local == ELSEWHERE ? next(place, wide) : local;
    if (method != 0 || (flags & 1) != 0) {
      throw RlhfException.input(
          place
              + " is "
              + ((flags & 1) != 0 ? "encrypted" : "compressed")
              + " ("
              + packed
              + " bytes that claim to become "
              + Long.toUnsignedString(length)
              + "); PyTorch stores weights as they are, and nothing else is read");
    }
    if (packed != length || length < 0 || local < 0 || local > file.size() - LOCAL_BYTES) {
      throw RlhfException.input(place + " does not fit into the file; it is damaged");
    }
    ByteBuffer localHeader = file.read(local, LOCAL_BYTES);
    long begin =
        local
            + LOCAL_BYTES
            + Short.toUnsignedInt(localHeader.getShort(26))
            + Short.toUnsignedInt(localHeader.getShort(28));
    if (localHeader.getInt(0) != LOCAL_SIGNATURE
        || begin > file.size()
        || length > file.size() - begin) {
      throw RlhfException.input(place + " does not fit into the file; it is damaged");
    }
    return new Entry(begin, length);
  }

  /** The extra field that holds what does not fit into 32 bits; empty where there is none. */
  private static ByteBuffer wideField(ByteBuffer extra) {
    int at = 0;
    while (at + 4 <= extra.limit()) {
      int id = Short.toUnsignedInt(extra.getShort(at));
      int length = Short.toUnsignedInt(extra.getShort(at + 2));
      if (id == WIDE_FIELD && at + 4 + length <= extra.limit()) {
        return extra.slice(at + 4, length).order(extra.order());
      }
      at += 4 + length;
    }
    return ByteBuffer.allocate(0);
  }

  private static long next(String place, ByteBuffer wide) {
    if (wide.remaining() < Long.BYTES) {
      throw RlhfException.input(place + " has no 64-bit sizes; it is damaged");
    }
    return wide.getLong();
  }

  private static void requireRoom(Path path, ByteBuffer list, int bytes) {
    if (list.remaining() < bytes) {
      throw damaged(path, "its directory is cut short");
    }
  }

  private static RlhfException damaged(Path path, String what) {
    return RlhfException.input(path + ": the zip archive is damaged: " + what);
  }
}
