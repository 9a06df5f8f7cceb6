package org.rlhf4j.core.checkpoint;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import org.rlhf4j.core.RlhfException;

/** Reads JSON that must be one object without duplicate keys and with nothing behind it. */
public final class StrictJson {
  /** As much as a safetensors header may have. */
  private static final long LARGEST_FILE = 100_000_000;

  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private StrictJson() {}

  /** The object in a file. */
  public static ObjectNode read(Path file) {
    byte[] content;
    try {
      long size = Files.size(file);
      if (size > LARGEST_FILE) {
        throw RlhfException.input(
            file + ": it has " + size + " bytes, more than the allowed " + LARGEST_FILE);
      }
      content = Files.readAllBytes(file);
    } catch (IOException e) {
      throw StorageErrors.unreadable(file, e);
    }
    return parse(content, file.toString());
  }

  /** The object in these bytes. */
  static ObjectNode parse(byte[] content, String origin) {
    JsonNode node;
    try {
      // Decoded here, because the parser would guess UTF-16 or UTF-32 from the bytes.
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString();
      node = MAPPER.readTree(text);
    } catch (CharacterCodingException e) {
      throw RlhfException.input(origin + ": not UTF-8", e);
    } catch (JsonProcessingException e) {
      JsonLocation location = e.getLocation();
      String place =
          location == null
              ? ""
              : " (line " + location.getLineNr() + ", column " + location.getColumnNr() + ")";
      throw RlhfException.input(origin + ": no valid JSON: " + e.getOriginalMessage() + place, e);
    }
    if (!(node instanceof ObjectNode object)) {
      throw RlhfException.input(origin + ": a JSON object is expected, found " + kind(node));
    }
    return object;
  }

  private static String kind(JsonNode node) {
    return node == null || node.isMissingNode()
        ? "nothing"
        : node.getNodeType().name().toLowerCase(Locale.ROOT);
  }
}
