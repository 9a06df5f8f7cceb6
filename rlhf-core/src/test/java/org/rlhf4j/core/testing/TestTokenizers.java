package org.rlhf4j.core.testing;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Small tokenizers whose ids can be told by hand, written as files. */
public final class TestTokenizers {
  public static final int BOS = 256;
  public static final int EOS = 257;
  public static final int PAD = 258;

  /** Vocabulary of {@link #bytes}. */
  public static final int BYTES_SIZE = 259;

  private static final ObjectMapper JSON = new ObjectMapper();

  private TestTokenizers() {}

  /**
   * A token per UTF-8 byte, its id the byte's value; {@code <s>} 256 goes before each text, {@code
   * </s>} 257, {@code <pad>} 258.
   */
  public static Path bytes(Path folder) throws IOException {
    ObjectNode tokenizer = frame(BOS);
    ObjectNode model = tokenizer.putObject("model").put("type", "BPE").putNull("unk_token");
    model.putArray("merges");
    ObjectNode vocabulary = model.putObject("vocab");
    // GPT-2's byte alphabet: printable bytes stand for themselves, the others follow from U+0100.
    int next = 256;
    for (int value = 0; value < 256; value++) {
      boolean printable =
          (value > 32 && value < 127) || (value > 160 && value < 173) || value > 173;
      vocabulary.put(Character.toString(printable ? value : next++), value);
    }
    addSpecials(tokenizer, vocabulary, List.of("<s>", "</s>", "<pad>"), BOS);
    tokenizer
        .putObject("pre_tokenizer")
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", false)
        .put("use_regex", false);
    tokenizer
        .putObject("decoder")
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", false)
        .put("use_regex", false);
    return write(folder, tokenizer, "<pad>");
  }

  /**
   * A token per word between blanks; ids: {@code <s>} 0, {@code </s>} 1, {@code <unk>} 2, words.
   */
  public static Path words(Path folder, String... words) throws IOException {
    ObjectNode tokenizer = frame(0);
    ObjectNode model = tokenizer.putObject("model").put("type", "WordLevel");
    model.put("unk_token", "<unk>");
    ObjectNode vocabulary = model.putObject("vocab");
    addSpecials(tokenizer, vocabulary, List.of("<s>", "</s>", "<unk>"), 0);
    for (String word : words) {
      vocabulary.put(word, vocabulary.size());
    }
    tokenizer.putObject("pre_tokenizer").put("type", "WhitespaceSplit");
    tokenizer.putNull("decoder");
    return write(folder, tokenizer, null);
  }

  private static ObjectNode frame(int bos) throws IOException {
    ObjectNode tokenizer =
        (ObjectNode)
            JSON.readTree(
                """
                {"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
                 "added_tokens": [],
                 "post_processor": {"type": "TemplateProcessing",
                  "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                             {"Sequence": {"id": "A", "type_id": 0}}],
                  "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                           {"Sequence": {"id": "B", "type_id": 1}}],
                  "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}}}
                """);
    ((ObjectNode) tokenizer.at("/post_processor/special_tokens/<s>")).putArray("ids").add(bos);
    return tokenizer;
  }

  private static void addSpecials(
      ObjectNode tokenizer, ObjectNode vocabulary, List<String> names, int firstId) {
    for (String name : names) {
      int id = firstId + names.indexOf(name);
      vocabulary.put(name, id);
      tokenizer
          .withArray("added_tokens")
          .addObject()
          .put("id", id)
          .put("content", name)
          .put("single_word", false)
          .put("lstrip", false)
          .put("rstrip", false)
          .put("normalized", false)
          .put("special", true);
    }
  }

  private static Path write(Path folder, ObjectNode tokenizer, String pad) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("tokenizer.json"), tokenizer.toString());
    ObjectNode config = JSON.createObjectNode().put("bos_token", "<s>").put("eos_token", "</s>");
    if (pad != null) {
      config.put("pad_token", pad);
    }
    Files.writeString(folder.resolve("tokenizer_config.json"), config.toString());
    return folder;
  }
}
