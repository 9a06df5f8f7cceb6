package org.rlhf4j.ppo;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.text.Tokenizer;

/**
 * The tokenizer of trlX's golden roll-outs: words w4 to w39 as 4 to 39 behind four special tokens;
 * nothing is added to a text.
 */
final class WordTokenizer {
  private WordTokenizer() {}

  static Tokenizer of(Path folder, int pad) throws IOException {
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode tokenizer = mapper.createObjectNode().put("version", "1.0");
    for (String none :
        List.of("truncation", "padding", "normalizer", "post_processor", "decoder")) {
      tokenizer.putNull(none);
    }
    tokenizer.putObject("pre_tokenizer").put("type", "WhitespaceSplit");
    ObjectNode model = tokenizer.putObject("model").put("type", "WordLevel");
    ObjectNode vocabulary = model.put("unk_token", "<unk>").putObject("vocab");
    List<String> specials = List.of("<pad>", "<s>", "</s>", "<unk>");
    for (String special : specials) {
      tokenizer
          .withArray("added_tokens")
          .addObject()
          .put("id", vocabulary.size())
          .put("content", special)
          .put("single_word", false)
          .put("lstrip", false)
          .put("rstrip", false)
          .put("normalized", false)
          .put("special", true);
      vocabulary.put(special, vocabulary.size());
    }
    for (int id = 4; id < 40; id++) {
      vocabulary.put("w" + id, id);
    }
    mapper.writeValue(folder.resolve("tokenizer.json").toFile(), tokenizer);
    mapper.writeValue(
        folder.resolve("tokenizer_config.json").toFile(),
        Map.of("eos_token", "</s>", "pad_token", specials.get(pad), "unk_token", "<unk>"));
    return Tokenizer.load(folder);
  }
}
