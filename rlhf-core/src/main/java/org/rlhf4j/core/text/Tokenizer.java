package org.rlhf4j.core.text;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.rlhf4j.core.RlhfException;

/**
 * The tokenizer of a Hugging Face model folder, read from its {@code tokenizer.json}, else from
 * SentencePiece's {@code tokenizer.model}, else from GPT-2's {@code vocab.json} and {@code
 * merges.txt}. Text is never cut or padded.
 *
 * <p>Which special tokens are added around a text (BOS, EOS) is what the post-processor of {@code
 * tokenizer.json} says, as in transformers 5. For the other files it is what {@code add_bos_token}
 * and {@code add_eos_token} of {@code tokenizer_config.json} say; without them BOS alone for a
 * {@code tokenizer.model}, as transformers 4 does it for LLaMA, and none for GPT-2's files.
 *
 * <p>Inside the engine every special token goes by a secret name, drawn anew at each load, in place
 * of its own. So {@code </s>} in a user's text is four plain characters, whereas a {@link
 * Segment#markup()} segment gets the secret name and thereby the token. Nothing outside this class
 * sees these names.
 *
 * <p>Holds native memory: close it. Safe for use by several threads.
 */
public final class Tokenizer implements AutoCloseable {
  private static final int REPLACEMENT_CHARACTER = 0xFFFD;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final HuggingFaceTokenizer engine;
  private final Path origin;
  private final Map<String, Integer> vocabulary;
  private final Map<String, String> roles;
  private final SecretNames names;
  private final Preparation preparation;

  private Tokenizer(HuggingFaceTokenizer engine, TokenizerReader.Description description) {
    this.engine = engine;
    this.origin = description.origin();
    this.vocabulary = description.vocabulary();
    this.roles = description.roles();
    this.names = description.names();
    this.preparation = description.preparation();
  }

  /** Whether a folder holds a tokenizer that {@link #load} can read. */
  public static boolean existsIn(Path folder) {
    return TokenizerReader.fileIn(folder).isPresent();
  }

  /**
   * Reads the tokenizer of a model folder.
   *
   * @throws RlhfException if a file is missing, corrupt or holds a tokenizer that is not supported;
   *     the message names the file
   */
  public static Tokenizer load(Path folder) {
    TokenizerReader.Description description = TokenizerReader.read(folder);
    try {
      HuggingFaceTokenizer engine =
          HuggingFaceTokenizer.newInstance(
              new ByteArrayInputStream(JSON.writeValueAsBytes(description.engineInput())),
              Map.of("truncation", "false", "padding", "false"));
      return new Tokenizer(engine, description);
    } catch (IOException | RuntimeException e) {
      throw RlhfException.input(
          description.origin() + ": not a usable tokenizer: " + oneLine(e), e);
    }
  }

  /** The file that the tokenizer was read from. */
  public Path origin() {
    return origin;
  }

  /** The ids of a text, with the special tokens that the tokenizer adds by itself (BOS). */
  public int[] encode(String text) {
    return encodeWithOffsets(text).ids();
  }

  /** The ids of a text and nothing else. */
  public int[] encodePlain(String text) {
    return encode(List.of(Segment.text(text, false)), false).ids();
  }

  /** As {@link #encode}, with each token's place in the text. */
  public EncodedText encodeWithOffsets(String text) {
    return encode(List.of(Segment.text(text, false)), true);
  }

  /**
   * As {@link #encodeWithOffsets}, but strings of special tokens are these tokens. For text that a
   * template or the tokenizer's own maker wrote, never for a user's.
   */
  public EncodedText encodeParsingSpecials(String text) {
    return encode(List.of(Segment.markup(text, false)), true);
  }

  /**
   * Encodes the concatenation of the segments as one text. Offsets count in the concatenation of
   * {@link Segment#text()}.
   */
  public EncodedText encode(List<Segment> segments) {
    return encode(segments, true);
  }

  /** The text of the ids without special tokens. */
  public String decode(int[] ids) {
    return decode(ids, true);
  }

  /** The text of the ids, special tokens by their names. */
  public String decodeAll(int[] ids) {
    return decode(ids, false);
  }

  /** A decoder for ids that come one by one. */
  public TokenStream stream() {
    return new TokenStream(this);
  }

  /** The id that begins a text, if the model folder names one. */
  public OptionalInt bosId() {
    return role("bos_token");
  }

  /** The id that ends a text, if the model folder names one. */
  public OptionalInt eosId() {
    return role("eos_token");
  }

  /** The padding id, if the model folder names one. */
  public OptionalInt padId() {
    return role("pad_token");
  }

  /** The id of unknown characters, if the model folder names one. */
  public OptionalInt unkId() {
    return role("unk_token");
  }

  /** How the end token is spelt, if there is one. */
  public Optional<String> eosText() {
    return Optional.ofNullable(roles.get("eos_token"));
  }

  /** How many tokens there are; ids run from 0. The model's embedding may have more rows. */
  public int vocabularySize() {
    return vocabulary.size();
  }

  /** The id of a token by its spelling in the vocabulary. */
  public OptionalInt idOf(String token) {
    Integer id = vocabulary.get(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  @Override
  public void close() {
    engine.close();
  }

  private OptionalInt role(String name) {
    String content = roles.get(name);
    return content == null ? OptionalInt.empty() : idOf(content);
  }

  private EncodedText encode(List<Segment> segments, boolean addSpecialTokens) {
    PlacedText prepared = prepare(segments);
    Encoding encoding;
    try {
      encoding = engine.encode(prepared.toString(), addSpecialTokens, false);
    } catch (RuntimeException e) {
      throw RlhfException.input(origin + ": cannot encode a text: " + oneLine(e), e);
    }
    long[] longIds = encoding.getIds();
    CharSpan[] spans = encoding.getCharTokenSpans();
    int[] ids = new int[longIds.length];
    int[] starts = new int[longIds.length];
    int[] ends = new int[longIds.length];
    int length = 0;
    for (int i = 0; i < longIds.length; i++) {
      if (longIds[i] >= vocabulary.size()) {
        continue; // a boundary that the preparation has set
      }
      ids[length] = Math.toIntExact(longIds[i]);
      if (spans[i] == null) {
        starts[length] = EncodedText.NO_SPAN;
        ends[length] = EncodedText.NO_SPAN;
      } else {
        // The engine counts code points, also where a character stands for none of the text.
        starts[length] = prepared.startOf(spans[i].getStart());
        ends[length] = prepared.endOf(spans[i].getStart(), spans[i].getEnd());
      }
      length++;
    }
    return new EncodedText(
        Arrays.copyOf(ids, length), Arrays.copyOf(starts, length), Arrays.copyOf(ends, length));
  }

  /** The text of the segments as the engine takes it, special tokens by their secret names. */
  private PlacedText prepare(List<Segment> segments) {
    PlacedText prepared = new PlacedText();
    PlacedText section = new PlacedText();
    int place = 0;
    boolean first = true;
    for (Segment segment : segments) {
      String text = segment.text();
      int index = 0;
      while (index < text.length()) {
        SecretNames.Hidden token = names.at(text, index, segment.markup());
        if (token == null) {
          int codePoint = text.codePointAt(index);
          int length = Character.charCount(codePoint);
          section.append(encodable(codePoint), place + index, place + index + length);
          index += length;
        } else {
          preparation.append(section, first, prepared);
          section.clear();
          first = false;
          int end = index + token.content().length();
          prepared.append(token.secret(), place + index, place + end);
          index = end;
        }
      }
      place += text.length();
    }
    preparation.append(section, first, prepared);
    return prepared;
  }

  /** Half of a surrogate pair is no character and has no UTF-8 form. */
  private static int encodable(int codePoint) {
    return codePoint >= Character.MIN_SURROGATE && codePoint <= Character.MAX_SURROGATE
        ? REPLACEMENT_CHARACTER
        : codePoint;
  }

  private String decode(int[] ids, boolean skipSpecialTokens) {
    long[] longIds = Arrays.stream(ids).asLongStream().toArray();
    try {
      return names.reveal(engine.decode(longIds, skipSpecialTokens));
    } catch (RuntimeException e) {
      throw RlhfException.input(origin + ": cannot decode ids: " + oneLine(e), e);
    }
  }

  private static String oneLine(Exception e) {
    return String.valueOf(e.getMessage()).replaceAll("\\s*\\R\\s*", " ");
  }
}
