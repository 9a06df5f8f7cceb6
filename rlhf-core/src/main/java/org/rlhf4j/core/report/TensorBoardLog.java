package org.rlhf4j.core.report;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * TensorBoard events of a run ({@code report_to: tensorboard}).
 *
 * <p>The file is a sequence of TFRecords, each a protobuf {@code Event}: 1 double wall_time, 2
 * int64 step, 3 string file_version, 5 Summary (1 repeated Value: 1 tag, 2 float simple_value), 7
 * SessionLog (1 status).
 */
public final class TensorBoardLog implements AutoCloseable {
  /** The folder's name within {@code output_dir}. */
  public static final String FOLDER = "tensorboard";

  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;
  private static final int SESSION_START = 1;

  private final Path file;
  private final FileChannel channel;

  private TensorBoardLog(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * Begins a new event file.
   *
   * @param directory created where missing
   * @param firstStep the first step this run will log; what TensorBoard holds from an earlier run
   *     at this step or later is discarded by it. 0 for a new run
   */
  public static TensorBoardLog open(Path directory, long firstStep) {
    Path file = directory;
    try {
      Files.createDirectories(directory);
      String name = "events.out.tfevents." + Instant.now().getEpochSecond() + ".rlhf4j";
      file = directory.resolve(name);
      // A run resumed within the same second must not write into the earlier run's file.
      for (int i = 1; Files.exists(file); i++) {
        file = directory.resolve(name + "." + i);
      }
      TensorBoardLog log =
          new TensorBoardLog(
              file,
              FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE));
      log.write(new Message().text(3, "brain.Event:2"), 0);
      log.write(new Message().nested(7, new Message().number(1, SESSION_START)), firstStep);
      return log;
    } catch (IOException e) {
      throw ReportFiles.cannotWrite(file, e);
    }
  }

  /**
   * Writes every number of a metrics row at the row's {@code step}. As in Hugging Face's trainer,
   * {@code eval_loss} is shown as {@code eval/loss} and {@code loss} as {@code train/loss}; names
   * with a slash stay.
   */
  public synchronized void append(Map<String, ?> row) {
    Message summary = new Message();
    for (Map.Entry<String, ?> field : row.entrySet()) {
      if (field.getValue() instanceof Number number && !field.getKey().equals(MetricNames.STEP)) {
        summary.nested(1, new Message().text(1, tag(field.getKey())).real(2, number.floatValue()));
      }
    }
    try {
      write(new Message().nested(5, summary), ((Number) row.get(MetricNames.STEP)).longValue());
    } catch (IOException e) {
      throw ReportFiles.cannotWrite(file, e);
    }
  }

  @Override
  public synchronized void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw ReportFiles.cannotWrite(file, e);
    }
  }

  private static String tag(String name) {
    if (name.contains("/")) {
      return name;
    }
    return name.startsWith(MetricNames.EVAL_PREFIX)
        ? "eval/" + name.substring(MetricNames.EVAL_PREFIX.length())
        : "train/" + name;
  }

  /** Frames the event as a TFRecord: length, its CRC, data, its CRC. */
  private void write(Message content, long step) throws IOException {
    Instant now = Instant.now();
    byte[] event =
        new Message()
            .real(1, now.getEpochSecond() + now.getNano() * 1e-9)
            .number(2, step)
            .append(content)
            .toByteArray();
    ByteBuffer record =
        ByteBuffer.allocate(8 + 4 + event.length + 4).order(ByteOrder.LITTLE_ENDIAN);
    record.putLong(event.length).putInt(maskedCrc(record.array(), 8));
    record.put(event).putInt(maskedCrc(event, event.length));
    ReportFiles.writeFully(channel, record.array());
  }

  private static int maskedCrc(byte[] bytes, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, 0, length);
    return Integer.rotateRight((int) crc.getValue(), 15) + 0xa282ead8;
  }

  /** The few protobuf wire types that an event needs. */
  private static final class Message {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    Message number(int field, long value) {
      varint(field << 3 | VARINT);
      varint(value);
      return this;
    }

    Message real(int field, double value) {
      varint(field << 3 | FIXED64);
      bytes.writeBytes(
          ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putDouble(value).array());
      return this;
    }

    Message real(int field, float value) {
      varint(field << 3 | FIXED32);
      bytes.writeBytes(
          ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array());
      return this;
    }

    Message text(int field, String value) {
      return block(field, value.getBytes(StandardCharsets.UTF_8));
    }

    Message nested(int field, Message value) {
      return block(field, value.toByteArray());
    }

    Message append(Message other) {
      bytes.writeBytes(other.toByteArray());
      return this;
    }

    byte[] toByteArray() {
      return bytes.toByteArray();
    }

    private Message block(int field, byte[] content) {
      varint(field << 3 | BYTES);
      varint(content.length);
      bytes.writeBytes(content);
      return this;
    }

    private void varint(long value) {
      long rest = value;
      while ((rest & ~0x7fL) != 0) {
        bytes.write((int) (rest & 0x7f) | 0x80);
        rest >>>= 7;
      }
      bytes.write((int) rest);
    }
  }
}
