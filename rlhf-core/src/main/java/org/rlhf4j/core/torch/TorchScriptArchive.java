package org.rlhf4j.core.torch;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Writes the archive that PyTorch's {@code torch::jit::load} reads: a zip of stored entries whose
 * {@code code/} is plain text and whose {@code data.pkl} holds the module's attributes.
 */
final class TorchScriptArchive {
  private static final Pattern CLASS = Pattern.compile("class (\\w+)\\(Module\\):\\R");

  private static final Pattern METHOD = Pattern.compile("(\\bdef \\w+)\\(self\\b");

  private TorchScriptArchive() {}

  /**
   * Builds an archive.
   *
   * @param source one class {@code class Name(Module):} with annotated methods; the declarations
   *     that every module needs, and those of {@code attributes}, are added here
   * @param attributes Long, Double or Boolean by name
   */
  static byte[] write(String source, Map<String, Object> attributes) throws IOException {
    Matcher header = CLASS.matcher(source);
    if (!header.find()) {
      throw new IllegalArgumentException("no 'class Name(Module):' in the kernel source");
    }
    String name = header.group(1);
    Map<String, Object> sorted = new TreeMap<>(attributes);
    StringBuilder code = new StringBuilder(header.group());
    code.append("  __parameters__ = []\n  __buffers__ = []\n  training : bool\n");
    code.append("  _is_full_backward_hook : Optional[bool]\n");
    sorted.forEach(
        (key, value) ->
            code.append("  ").append(key).append(" : ").append(type(value)).append('\n'));
    code.append(
        METHOD.matcher(source.substring(header.end())).replaceAll("$1(self: __torch__." + name));

    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      put(zip, "kernels/data.pkl", attributes(name, sorted));
      put(zip, "kernels/code/__torch__.py", code.toString().getBytes(StandardCharsets.UTF_8));
      put(zip, "kernels/constants.pkl", new byte[] {(byte) 0x80, 2, ')', '.'});
      put(zip, "kernels/version", "10\n".getBytes(StandardCharsets.UTF_8));
    }
    return bytes.toByteArray();
  }

  private static String type(Object value) {
    if (value instanceof Long) {
      return "int";
    }
    if (value instanceof Double) {
      return "float";
    }
    if (value instanceof Boolean) {
      return "bool";
    }
    throw new IllegalArgumentException("attribute of " + value.getClass());
  }

  /** Pickle protocol 2: the class, no arguments, a dictionary of attributes. */
  private static byte[] attributes(String name, Map<String, Object> attributes) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    out.write(new byte[] {(byte) 0x80, 2, 'c'});
    out.write(("__torch__\n" + name + "\n").getBytes(StandardCharsets.UTF_8));
    out.write(new byte[] {')', (byte) 0x81, '}', '('});
    string(out, "training");
    out.write((byte) 0x88);
    string(out, "_is_full_backward_hook");
    out.write('N');
    for (Map.Entry<String, Object> attribute : attributes.entrySet()) {
      string(out, attribute.getKey());
      if (attribute.getValue() instanceof Boolean truth) {
        out.write(truth ? (byte) 0x88 : (byte) 0x89);
      } else if (attribute.getValue() instanceof Double number) {
        out.write('G');
        out.writeLong(Double.doubleToLongBits(number));
      } else {
        out.write('J');
        out.writeInt(Integer.reverseBytes(Math.toIntExact((Long) attribute.getValue())));
      }
    }
    out.write(new byte[] {'u', 'b', '.'});
    return bytes.toByteArray();
  }

  private static void string(DataOutputStream out, String text) throws IOException {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    out.write('X');
    out.writeInt(Integer.reverseBytes(utf8.length));
    out.write(utf8);
  }

  private static void put(ZipOutputStream zip, String name, byte[] content) throws IOException {
    CRC32 crc = new CRC32();
    crc.update(content);
    ZipEntry entry = new ZipEntry(name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(content.length);
    entry.setCrc(crc.getValue());
    entry.setTime(0);
    zip.putNextEntry(entry);
    zip.write(content);
    zip.closeEntry();
  }
}
