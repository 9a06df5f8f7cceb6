package org.rlhf4j.ppo;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.StrictJson;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.ppo.rollout.Lengths;

/**
 * The way of responses through text, as in trlX: what is scored and trained on is not what was
 * sampled, but its text, tokenised again.
 *
 * @param stops strings at which an output is cut, in this order
 * @param padId that chunks are padded with
 * @param cleansUp whether decoding takes blanks away that stand before punctuation
 */
record TrlxText(
    TrlxCompat version, Tokenizer tokenizer, List<String> stops, int padId, boolean cleansUp) {
  /** Python's white space. */
  private static final Pattern WHITE_END = Pattern.compile("(?U)[\\s\\x1c-\\x1f]+\\z");

  private static final String CLEANS_UP = "clean_up_tokenization_spaces";

  /** What Hugging Face's decoding replaces by the same without its blanks, one after the other. */
  private static final List<String> CLEANED =
      List.of(" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're");

  /**
   * A response after its way through text.
   *
   * @param sample prompt and output
   * @param output as trlX's reward functions get it: with the end token's spelling where it ended
   * @param text the output without that spelling
   */
  record Texts(String sample, String prompt, String output, String text) {}

  /** A tokenizer without EOS, or without its spelling, cannot end a text. */
  TrlxText {
    if (tokenizer.eosId().isEmpty() || tokenizer.eosText().isEmpty()) {
      throw RlhfException.input(
          tokenizer.origin() + ": trlx_compat needs a tokenizer with an end token");
    }
  }

  /**
   * The way through text with a model folder's tokenizer, which cleans up as transformers 4 does
   * unless tokenizer_config.json forbids it.
   */
  static TrlxText of(TrlxCompat version, Tokenizer tokenizer, List<String> stops, int padId) {
    Path config = tokenizer.origin().resolveSibling("tokenizer_config.json");
    boolean cleansUp =
        !Files.exists(config) || StrictJson.read(config).path(CLEANS_UP).asBoolean(true);
    return new TrlxText(version, tokenizer, stops, padId, cleansUp);
  }

  /**
   * The texts of a chunk.
   *
   * @param prompts ids without padding
   * @param responses ids as they were sampled, EOS included, without padding
   */
  List<Texts> texts(List<int[]> prompts, List<int[]> responses) {
    Lengths.require("responses", responses.size(), prompts.size());
    int longest = responses.stream().mapToInt(response -> response.length).max().orElse(0);
    List<Texts> texts = new ArrayList<>();
    for (int i = 0; i < responses.size(); i++) {
      int[] response = responses.get(i);
      String prompt = decoded(prompts.get(i));
      String text = decoded(response);
      boolean isCut = false;
      for (String stop : stops) {
        int place = text.indexOf(stop);
        if (place >= 0) {
          text = WHITE_END.matcher(text.substring(0, place)).replaceFirst("");
          isCut = true;
        }
      }
      int last = response.length < longest ? padId : response[longest - 1];
      boolean ends = endsWithEos(isCut, last);
      String output = ends ? text + tokenizer.eosText().orElseThrow() : text;
      texts.add(new Texts(prompt + output, prompt, output, text));
    }
    return texts;
  }

  private String decoded(int[] ids) {
    String text = tokenizer.decode(ids);
    return cleansUp ? cleanedUp(text) : text;
  }

  static String cleanedUp(String text) {
    for (String spaced : CLEANED) {
      text = text.replace(spaced, spaced.strip());
    }
    return text;
  }

  /**
   * Whether EOS is put back.
   *
   * @param last the last token of the padded response
   */
  private boolean endsWithEos(boolean isCut, int last) {
    boolean isEos = last == tokenizer.eosId().orElseThrow();
    return switch (version) {
      case HEAD -> isCut || isEos || last == padId;
      case V0_6_0 -> isCut || isEos;
      case V0_5_0 -> false;
      case NONE -> throw new IllegalStateException("the clean form keeps the sampled tokens");
    };
  }

  /** The ids of an output; special tokens that are spelt in it are these tokens. */
  int[] ids(String output) {
    return tokenizer.encodeParsingSpecials(output).ids();
  }
}
