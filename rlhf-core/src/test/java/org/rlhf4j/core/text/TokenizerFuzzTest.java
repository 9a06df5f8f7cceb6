package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Shared;

/**
 * Damaged tokenizers: whatever is done to the file, the outcome is a tokenizer or one clear error.
 * The engine ends the whole process where it meets something unexpected, which no test survives.
 */
class TokenizerFuzzTest {
  private static final String TEXT = " Hello  w\u00f6rld\n<0x41> \u4f60\u597d \uD83D\uDE00 <s> 12";
  private static final Duration LIMIT = Duration.ofMinutes(3);

  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    "sentencepiece-bpe, 600",
    "sentencepiece-unigram, 600",
    "sentencepiece-unigram-nfkc, 100"
  })
  void damagedModels(String name, int mutations) throws IOException {
    byte[] model =
        Files.readAllBytes(Shared.path("golden/tokenizers/" + name + "/tokenizer.model"));
    Path file = folder.resolve("tokenizer.model");
    Random random = new Random(1);
    int refused = 0;
    for (int i = 0; i < mutations; i++) {
      Files.write(file, damaged(model, random));
      refused += isRefused(file) ? 1 : 0;
    }
    // Others have another letter or score somewhere, which is a tokenizer too.
    assertTrue(refused > mutations / 4, refused + " of " + mutations);
  }

  @ParameterizedTest
  @ValueSource(strings = {"byte-level-llama3", "byte-fallback-llama", "byte-fallback-metaspace"})
  void damagedJson(String name) throws IOException {
    byte[] json =
        Files.readAllBytes(Shared.path("golden/tokenizers/" + name + "/v5/tokenizer.json"));
    Path file = folder.resolve("tokenizer.json");
    Random random = new Random(2);
    int mutations = 300;
    int refused = 0;
    for (int i = 0; i < mutations; i++) {
      Files.write(file, damaged(json, random));
      refused += isRefused(file) ? 1 : 0;
    }
    assertTrue(refused > mutations / 4, refused + " of " + mutations);
  }

  @ParameterizedTest
  @ValueSource(strings = {"byte-level-llama3", "byte-fallback-llama", "byte-fallback-metaspace"})
  void otherValuesInJson(String name) throws IOException {
    ObjectMapper mapper = new ObjectMapper();
    JsonNode json =
        mapper.readTree(Shared.path("golden/tokenizers/" + name + "/v5/tokenizer.json").toFile());
    Path file = folder.resolve("tokenizer.json");
    Random random = new Random(3);
    int mutations = 500;
    int refused = 0;
    for (int i = 0; i < mutations; i++) {
      ObjectNode changed = json.deepCopy();
      int changes = 1 + random.nextInt(3);
      for (int k = 0; k < changes; k++) {
        change(changed, random);
      }
      Files.write(file, mapper.writeValueAsBytes(changed));
      refused += isRefused(file) ? 1 : 0;
    }
    assertTrue(refused > mutations / 4, refused + " of " + mutations);
  }

  /** Loads and uses the tokenizer of the folder; anything but a clear refusal fails the test. */
  private boolean isRefused(Path file) {
    return assertTimeoutPreemptively(
        LIMIT,
        () -> {
          try (Tokenizer tokenizer = Tokenizer.load(folder)) {
            int[] ids = tokenizer.encode(TEXT);
            for (int id : ids) {
              assertTrue(id >= 0 && id < tokenizer.vocabularySize());
            }
            tokenizer.encodeParsingSpecials(TEXT + "</s>");
            tokenizer.decode(ids);
            tokenizer.decodeAll(new int[] {0, 5, 300, tokenizer.vocabularySize() + 3});
            return false;
          } catch (RlhfException e) {
            assertEquals(ExitCode.INPUT, e.exitCode());
            assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
            assertFalse(e.getMessage().contains("\n"), e.getMessage());
            return true;
          }
        });
  }

  private static byte[] damaged(byte[] content, Random random) {
    byte[] result = content.clone();
    int changes = 1 + random.nextInt(4);
    for (int i = 0; i < changes; i++) {
      int at = random.nextInt(result.length);
      int length = Math.min(1 + random.nextInt(20), result.length - at);
      switch (random.nextInt(6)) {
        case 0 -> result[at] ^= (byte) (1 << random.nextInt(8));
        case 1 -> result[at] = (byte) random.nextInt(256);
        case 2 -> result = Arrays.copyOf(result, Math.max(1, at));
        case 3 -> result = spliced(result, at, at + length, new byte[0]);
        case 4 -> result = spliced(result, at, at, Arrays.copyOfRange(result, at, at + length));
        default -> {
          byte[] noise = new byte[length];
          random.nextBytes(noise);
          result = spliced(result, at, at + length, noise);
        }
      }
    }
    return result;
  }

  private static byte[] spliced(byte[] content, int from, int to, byte[] between) {
    byte[] result = new byte[content.length - (to - from) + between.length];
    System.arraycopy(content, 0, result, 0, from);
    System.arraycopy(between, 0, result, from, between.length);
    System.arraycopy(content, to, result, from + between.length, content.length - to);
    return result.length == 0 ? new byte[1] : result;
  }

  /** Puts another value in some place; places near the root are as likely as those far down. */
  private static void change(ObjectNode root, Random random) {
    JsonNode parent = root;
    while (true) {
      List<JsonNode> inner = new ArrayList<>();
      parent.forEach(child -> inner.add(child));
      inner.removeIf(child -> !child.isContainerNode() || child.isEmpty());
      if (inner.isEmpty() || random.nextInt(4) == 0) {
        break;
      }
      parent = inner.get(random.nextInt(inner.size()));
    }
    int at = random.nextInt(parent.size());
    if (parent instanceof ArrayNode array) {
      if (random.nextInt(4) == 0) {
        array.remove(at);
      } else {
        array.set(at, other(array.get(at), root, random));
      }
    } else {
      ObjectNode object = (ObjectNode) parent;
      List<String> names = new ArrayList<>();
      object.fieldNames().forEachRemaining(names::add);
      String name = names.get(at);
      if (random.nextInt(4) == 0) {
        object.remove(name);
      } else {
        object.set(name, other(object.get(name), root, random));
      }
    }
  }

  private static JsonNode other(JsonNode value, ObjectNode root, Random random) {
    JsonNodeFactory factory = JsonNodeFactory.instance;
    String[] words = {
      "",
      " ",
      "\u2581",
      "A",
      "B",
      "<s>",
      "</s>",
      "Sequence",
      "BPE",
      "Unigram",
      "WordLevel",
      "WordPiece",
      "Strip",
      "Fuse",
      "Replace",
      "ByteLevel",
      "Metaspace",
      "Prepend",
      "Precompiled",
      "TemplateProcessing",
      "RobertaProcessing",
      "never",
      "\uD83D\uDE00",
      "e\u0301",
      "[",
      "x*"
    };
    return switch (random.nextInt(10)) {
      case 0 -> factory.nullNode();
      case 1 -> factory.booleanNode(random.nextBoolean());
      case 2 -> factory.numberNode(random.nextInt(-2, 800));
      case 3 -> factory.numberNode(random.nextLong());
      case 4 -> factory.numberNode(random.nextDouble() * 1e300);
      case 5 -> factory.arrayNode().add(value.deepCopy());
      case 6 -> factory.objectNode().set("type", value.deepCopy());
      case 7 -> value.isTextual() ? factory.textNode(value.asText() + "x") : value.deepCopy();
      case 8 -> root.path(random.nextBoolean() ? "decoder" : "post_processor").deepCopy();
      default -> factory.textNode(words[random.nextInt(words.length)]);
    };
  }
}
