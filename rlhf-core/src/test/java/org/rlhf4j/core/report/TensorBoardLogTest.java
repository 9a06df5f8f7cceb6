package org.rlhf4j.core.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TensorBoardLogTest {
  @TempDir Path folder;

  @Test
  void theEventsReadBackByTheFormatsRules() throws Exception {
    try (TensorBoardLog log = TensorBoardLog.open(folder, 3)) {
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("step", 300L);
      row.put("loss", 1.25);
      row.put("eval_loss", 2.5);
      row.put("reward/all_mean", -0.75);
      row.put("note", "no number");
      log.append(row);
    }
    List<Map<Integer, List<Object>>> events = events(onlyFile());

    assertEquals(3, events.size());
    assertEquals("brain.Event:2", text(events.get(0), 3));
    // A start of a session lets TensorBoard drop what an earlier run logged from this step on.
    assertEquals(3L, events.get(1).get(2).get(0));
    assertEquals(1L, fields((ByteBuffer) events.get(1).get(7).get(0)).get(1).get(0));
    assertEquals(300L, events.get(2).get(2).get(0));
    double wallTime = Double.longBitsToDouble((Long) events.get(2).get(1).get(0));
    assertTrue(Math.abs(wallTime - System.currentTimeMillis() / 1e3) < 600, "seconds since 1970");
    Map<String, Float> scalars = new LinkedHashMap<>();
    for (Object value : fields((ByteBuffer) events.get(2).get(5).get(0)).get(1)) {
      Map<Integer, List<Object>> fields = fields((ByteBuffer) value);
      scalars.put(text(fields, 1), Float.intBitsToFloat((Integer) fields.get(2).get(0)));
    }
    assertEquals(
        Map.of("train/loss", 1.25f, "eval/loss", 2.5f, "reward/all_mean", -0.75f), scalars);
  }

  @Test
  void aRunResumedAtOnceWritesAFileOfItsOwn() throws Exception {
    TensorBoardLog.open(folder, 0).close();
    TensorBoardLog.open(folder, 5).close();
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(2, files.count());
    }
  }

  @Test
  void theCheckSumIsCastagnolis() {
    // The check value of CRC-32C in RFC 3720's catalogue entry.
    assertEquals(0xe3069283, crc32c("123456789".getBytes(StandardCharsets.US_ASCII)));
  }

  private Path onlyFile() throws Exception {
    try (Stream<Path> files = Files.list(folder)) {
      List<Path> all = files.toList();
      assertEquals(1, all.size());
      assertTrue(all.get(0).getFileName().toString().startsWith("events.out.tfevents."));
      return all.get(0);
    }
  }

  private static List<Map<Integer, List<Object>>> events(Path file) throws Exception {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    List<Map<Integer, List<Object>>> events = new ArrayList<>();
    while (bytes.hasRemaining()) {
      byte[] length = new byte[8];
      bytes.get(length);
      assertEquals(masked(crc32c(length)), bytes.getInt());
      byte[] data =
          new byte[(int) ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getLong()];
      bytes.get(data);
      assertEquals(masked(crc32c(data)), bytes.getInt());
      events.add(fields(ByteBuffer.wrap(data)));
    }
    return events;
  }

  /** Bit by bit with the reflected polynomial, unlike the table of the JDK's class. */
  private static int crc32c(byte[] bytes) {
    int crc = -1;
    for (byte b : bytes) {
      crc ^= b & 0xff;
      for (int bit = 0; bit < 8; bit++) {
        crc = (crc & 1) == 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
      }
    }
    return ~crc;
  }

  private static int masked(int crc) {
    return ((crc >>> 15) | (crc << 17)) + 0xa282ead8;
  }

  private static Map<Integer, List<Object>> fields(ByteBuffer message) {
    ByteBuffer rest = message.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    Map<Integer, List<Object>> fields = new LinkedHashMap<>();
    while (rest.hasRemaining()) {
      long key = varint(rest);
      Object value;
      switch ((int) (key & 7)) {
        case 0 -> value = varint(rest);
        case 1 -> value = rest.getLong();
        case 2 -> {
          int length = (int) varint(rest);
          value = rest.slice(rest.position(), length);
          rest.position(rest.position() + length);
        }
        case 5 -> value = rest.getInt();
        default -> throw new AssertionError("wire type of key " + key);
      }
      fields.computeIfAbsent((int) (key >>> 3), field -> new ArrayList<>()).add(value);
    }
    return fields;
  }

  private static long varint(ByteBuffer bytes) {
    long value = 0;
    for (int shift = 0; ; shift += 7) {
      byte next = bytes.get();
      value |= (long) (next & 0x7f) << shift;
      if (next >= 0) {
        return value;
      }
    }
  }

  private static String text(Map<Integer, List<Object>> fields, int field) {
    return StandardCharsets.UTF_8
        .decode(((ByteBuffer) fields.get(field).get(0)).duplicate())
        .toString();
  }
}
