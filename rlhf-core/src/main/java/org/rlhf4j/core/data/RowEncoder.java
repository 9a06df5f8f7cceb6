package org.rlhf4j.core.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.text.EncodedText;
import org.rlhf4j.core.text.HhDialogue;
import org.rlhf4j.core.text.Message;
import org.rlhf4j.core.text.Segment;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;

/**
 * Turns rows into token ids by one rule: the text is rendered whole, encoded once with the special
 * tokens that the tokenizer adds, and the targets follow from character offsets. A token is a
 * target if any of its characters is; so {@code " Hello"} is one where {@code Hello} is, as in
 * FastChat.
 *
 * <p>Rows of token ids are taken as they are and need no tokenizer.
 */
public final class RowEncoder {
  /** Reason of rows beyond the limit. */
  public static final String TOO_LONG = "longer than max_length";

  /** Reason of rows that lost all their targets to truncation. */
  public static final String TARGETS_CUT_OFF = "no target left after truncation to max_length";

  /** Reason of pairs without a difference. */
  public static final String EQUAL_SIDES = "chosen equals rejected";

  private final Tokenizer tokenizer;
  private final int vocabularySize;
  private final Options options;
  private final String limit;

  /**
   * How rows are encoded.
   *
   * @param template what renders {@code messages}; {@link Template#HH_HASH} also rewrites HH texts
   * @param maxLength the longest row in tokens
   * @param overlong what happens to longer ones
   * @param appendEos whether the end token is added, as a target, where a row does not end with it.
   *     A conversation whose template writes end tokens gets none
   * @param completionOnly whether prompts and users' turns are left out of the targets of {@link
   *     #encodeRow}
   */
  public record Options(
      Template template,
      int maxLength,
      Overlong overlong,
      boolean appendEos,
      boolean completionOnly) {}

  /**
   * An encoder.
   *
   * @param tokenizer the model's tokenizer, stays the caller's to close; null for a model without
   *     one, whose rows must be token ids
   * @param vocabularySize ids of a row are below this
   */
  public RowEncoder(Tokenizer tokenizer, int vocabularySize, Options options) {
    this(tokenizer, vocabularySize, options, "max_length is " + options.maxLength());
  }

  private RowEncoder(Tokenizer tokenizer, int vocabularySize, Options options, String limit) {
    this.tokenizer = tokenizer;
    this.vocabularySize = vocabularySize;
    this.options = options;
    this.limit = limit;
  }

  /** The same encoder with other options. */
  public RowEncoder with(Options others) {
    return new RowEncoder(tokenizer, vocabularySize, others);
  }

  /**
   * The same encoder, which says of a row that is too long what sets the limit, where that is not
   * max_length.
   *
   * @param reason as {@code "max_length is 512"}
   */
  public RowEncoder limitedBy(String reason) {
    return new RowEncoder(tokenizer, vocabularySize, options, reason);
  }

  /** The options given. */
  public Options options() {
    return options;
  }

  /** The tokenizer given, may be null. */
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  /**
   * Encodes a row for training or scoring a language model. Of a pair the chosen side counts.
   *
   * @throws RlhfException if the row needs a tokenizer or template that is not there, or is too
   *     long and {@link Overlong#ERROR} holds
   */
  public Encoded<TokenRow> encodeRow(Example example) {
    return encode(example, true);
  }

  private Encoded<TokenRow> encode(Example example, boolean needsTarget) {
    if (example instanceof Example.Responses) {
      return new Encoded.Bad<>("a row with responses is no text; score reads it, and select");
    }
    if (needsTarget && example instanceof Example.Prompt) {
      return new Encoded.Bad<>("a prompt without a completion has nothing to predict");
    }
    try {
      TokenRow whole = wholeRow(example, Side.CHOSEN, options.completionOnly());
      if (needsTarget && whole.targetCount() == 0) {
        return new Encoded.Bad<>(
            "no token to predict; needed is one behind the first that is a target");
      }
      int length = whole.length();
      boolean tooLong = length > options.maxLength();
      if (tooLong && isDropped(example, length)) {
        return new Encoded.Dropped<>(TOO_LONG, length);
      }
      TokenRow row = cut(whole, options.maxLength());
      return needsTarget && row.targetCount() == 0
          ? new Encoded.Dropped<>(TARGETS_CUT_OFF, length)
          : new Encoded.Kept<>(
              row, length, tooLong, !isPrefix(promptIds(example, Side.CHOSEN), whole.ids()));
    } catch (UnusableRow e) {
      return new Encoded.Bad<>(e.getMessage());
    }
  }

  /** Encodes both sides of a pair; targets are the answers. Throws as {@link #encodeRow}. */
  public Encoded<TokenPair> encodePair(Example example) {
    double margin;
    if (example instanceof Example.Preference preference) {
      margin = preference.margin();
    } else if (example instanceof Example.Dialogues dialogues) {
      margin = dialogues.margin();
    } else if (example instanceof Example.TokensPreference tokens) {
      margin = tokens.pair().margin();
    } else {
      return new Encoded.Bad<>(
          "not a pair: needs chosen and rejected, or chosen_input_ids and rejected_input_ids");
    }
    try {
      TokenRow chosen = wholeRow(example, Side.CHOSEN, true);
      TokenRow rejected = wholeRow(example, Side.REJECTED, true);
      int length = Math.max(chosen.length(), rejected.length());
      boolean tooLong = length > options.maxLength();
      if (tooLong && isDropped(example, length)) {
        return new Encoded.Dropped<>(TOO_LONG, length);
      }
      TokenPair pair =
          new TokenPair(
              cut(chosen, options.maxLength()), cut(rejected, options.maxLength()), margin);
      if (Arrays.equals(pair.chosen().ids(), pair.rejected().ids())) {
        return new Encoded.Dropped<>(EQUAL_SIDES, length);
      }
      return new Encoded.Kept<>(pair, length, tooLong, isPrefixMismatch(example, chosen, rejected));
    } catch (UnusableRow e) {
      return new Encoded.Bad<>(e.getMessage());
    }
  }

  /**
   * Encodes a row of any form for scoring: a pair with both sides, even if they are equal, and
   * responses each behind their prompt, as {@link #encodeResponse} says, and everything else as one
   * document. Throws as {@link #encodeRow}.
   *
   * @param needsTargets whether every side needs a token to predict, as a language model does
   */
  public Encoded<ScoreRow> encodeForScoring(Example example, boolean needsTargets) {
    if (example instanceof Example.Responses responses) {
      return encodeResponses(responses, needsTargets);
    }
    if (!isPair(example)) {
      Encoded<TokenRow> encoded = encode(example, needsTargets);
      if (encoded instanceof Encoded.Kept<TokenRow> kept) {
        return new Encoded.Kept<>(
            new ScoreRow.Single(kept.value()),
            kept.length(),
            kept.truncated(),
            kept.prefixMismatch());
      }
      return encoded instanceof Encoded.Dropped<TokenRow> dropped
          ? new Encoded.Dropped<>(dropped.reason(), dropped.length())
          : new Encoded.Bad<>(((Encoded.Bad<TokenRow>) encoded).reason());
    }
    try {
      TokenRow chosen = wholeRow(example, Side.CHOSEN, true);
      TokenRow rejected = wholeRow(example, Side.REJECTED, true);
      if (needsTargets && (chosen.targetCount() == 0 || rejected.targetCount() == 0)) {
        return new Encoded.Bad<>("a side of the pair has no token to predict");
      }
      int length = Math.max(chosen.length(), rejected.length());
      boolean tooLong = length > options.maxLength();
      if (tooLong && isDropped(example, length)) {
        return new Encoded.Dropped<>(TOO_LONG, length);
      }
      TokenRow chosenCut = cut(chosen, options.maxLength());
      TokenRow rejectedCut = cut(rejected, options.maxLength());
      if (needsTargets && (chosenCut.targetCount() == 0 || rejectedCut.targetCount() == 0)) {
        return new Encoded.Dropped<>(TARGETS_CUT_OFF, length);
      }
      return new Encoded.Kept<>(
          new ScoreRow.Pair(chosenCut, rejectedCut),
          length,
          tooLong,
          isPrefixMismatch(example, chosen, rejected));
    } catch (UnusableRow e) {
      return new Encoded.Bad<>(e.getMessage());
    }
  }

  private Encoded<ScoreRow> encodeResponses(Example.Responses row, boolean needsTargets) {
    List<TokenRow> sides = new ArrayList<>();
    int length = 0;
    boolean truncated = false;
    boolean prefixMismatch = false;
    Encoded.Dropped<ScoreRow> dropped = null;
    for (Example.Response response : row.responses()) {
      Encoded<TokenRow> encoded = encodeResponse(row.origin(), response, needsTargets);
      length = Math.max(length, encoded.length());
      if (encoded instanceof Encoded.Bad<TokenRow> bad) {
        return new Encoded.Bad<>("responses[" + sides.size() + "]: " + bad.reason());
      } else if (encoded instanceof Encoded.Dropped<TokenRow> out) {
        dropped = new Encoded.Dropped<>(out.reason(), length);
      } else if (encoded instanceof Encoded.Kept<TokenRow> kept) {
        sides.add(kept.value());
        truncated |= kept.truncated();
        prefixMismatch |= kept.prefixMismatch();
      }
    }
    return dropped == null
        ? new Encoded.Kept<>(
            new ScoreRow.Responses(row.index(), List.copyOf(sides)),
            length,
            truncated,
            prefixMismatch)
        : dropped;
  }

  /**
   * Encodes a response behind its prompt. With a tokenizer that is the text {@code prompt + text},
   * nothing between; one that is no dialogue of HH is left as it is by {@link Template#HH_HASH}.
   * Without a tokenizer it is the ids of both. Throws as {@link #encodeRow}.
   *
   * @param needsTargets whether the response needs a token to predict, as for a language model
   */
  public Encoded<TokenRow> encodeResponse(
      RowOrigin origin, Example.Response response, boolean needsTargets) {
    if (tokenizer == null) {
      if (response.promptIds() == null || response.ids() == null) {
        return new Encoded.Bad<>(
            "without a tokenizer a response needs prompt_token_ids, or input_ids, and token_ids");
      }
      int[] prompt = response.promptIds();
      int[] ids = Arrays.copyOf(prompt, prompt.length + response.ids().length);
      System.arraycopy(response.ids(), 0, ids, prompt.length, response.ids().length);
      TokenRow row = TokenRow.targetsFrom(ids, prompt.length);
      return encode(new Example.Tokens(origin, row), needsTargets);
    }
    if (response.prompt() == null || response.text() == null) {
      return new Encoded.Bad<>("a response that is read as a text needs the texts prompt and text");
    }
    String text = response.prompt() + response.text();
    if (options.template() == Template.HH_HASH && !HhDialogue.isDialogue(text)) {
      Options asItIs =
          new Options(
              Template.NONE,
              options.maxLength(),
              options.overlong(),
              options.appendEos(),
              options.completionOnly());
      return with(asItIs).encodeResponse(origin, response, needsTargets);
    }
    return encode(
        needsTargets
            ? new Example.Completion(origin, response.prompt(), response.text())
            : new Example.Text(origin, text),
        needsTargets);
  }

  private static boolean isPair(Example example) {
    return example instanceof Example.Preference
        || example instanceof Example.Dialogues
        || example instanceof Example.TokensPreference;
  }

  /** Whether a side of a pair begins otherwise than its prompt alone encodes. */
  private boolean isPrefixMismatch(Example pair, TokenRow chosen, TokenRow rejected)
      throws UnusableRow {
    int[] chosenPrompt = promptIds(pair, Side.CHOSEN);
    int[] rejectedPrompt = hasOnePrompt(pair) ? chosenPrompt : promptIds(pair, Side.REJECTED);
    return !isPrefix(chosenPrompt, chosen.ids()) || !isPrefix(rejectedPrompt, rejected.ids());
  }

  /**
   * Encodes the prompt of a row: everything before the completion, or before the last answer of a
   * conversation, or the one that responses belong to. {@code input_ids} are a prompt as they are.
   * A too long prompt is never cut but dropped, or an error.
   */
  public Encoded<PromptRow> encodePrompt(Example example) {
    if (example instanceof Example.Responses row) {
      Example.Response first = row.responses().get(0);
      return encodePrompt(
          first.prompt() == null
              ? new Example.Tokens(row.origin(), TokenRow.allTargets(first.promptIds()))
              : new Example.Prompt(row.origin(), first.prompt()));
    }
    try {
      int index = example.origin().index();
      PromptRow prompt;
      if (example instanceof Example.Tokens tokens) {
        int[] ids = tokens.row().ids();
        checkIds("", ids);
        prompt = new PromptRow(index, text(ids), ids);
      } else {
        List<Segment> segments = promptSegments(example);
        int[] ids = promptIds(example, segments);
        checkIds("", ids);
        prompt = new PromptRow(index, join(segments), ids);
      }
      int length = prompt.ids().length;
      if (length == 0) {
        return new Encoded.Bad<>("the prompt has no token");
      }
      if (length > options.maxLength()) {
        if (options.overlong() == Overlong.ERROR) {
          throw RlhfException.input(
              "%s: the prompt has %s tokens, at most %s are allowed: %s"
                  .formatted(example.origin(), length, options.maxLength(), limit));
        }
        return new Encoded.Dropped<>(TOO_LONG, length);
      }
      return new Encoded.Kept<>(prompt, length, false, false);
    } catch (UnusableRow e) {
      return new Encoded.Bad<>(e.getMessage());
    }
  }

  /** The text of ids; without the BOS that encoding it would add again. */
  private String text(int[] ids) {
    if (tokenizer == null) {
      return "";
    }
    boolean begins = ids.length > 0 && tokenizer.bosId().orElse(-1) == ids[0];
    boolean added = begins && tokenizer.encode("").length > 0 && tokenizer.encode("")[0] == ids[0];
    return tokenizer.decodeAll(added ? Arrays.copyOfRange(ids, 1, ids.length) : ids);
  }

  private enum Side {
    CHOSEN,
    REJECTED
  }

  /** Says why a row cannot be used; does not leave this class. */
  private static final class UnusableRow extends Exception {
    private static final long serialVersionUID = 1L;

    UnusableRow(String reason) {
      super(reason);
    }
  }

  /** A row before the limit, its ids within the vocabulary. */
  private TokenRow wholeRow(Example example, Side side, boolean completionOnly) throws UnusableRow {
    TokenRow row;
    if (example instanceof Example.Tokens tokens) {
      row = tokens.row();
    } else if (example instanceof Example.TokensPreference tokens) {
      row = side == Side.CHOSEN ? tokens.pair().chosen() : tokens.pair().rejected();
    } else {
      boolean appendEos =
          options.appendEos()
              && !(example instanceof Example.Conversation && options.template().writesEndToken());
      row = tokenized(example, segments(example, side, completionOnly), appendEos);
    }
    String column =
        !(example instanceof Example.TokensPreference)
            ? ""
            : side == Side.CHOSEN ? RowReader.CHOSEN_IDS + ": " : RowReader.REJECTED_IDS + ": ";
    checkIds(column, row.ids());
    return row;
  }

  private List<Segment> segments(Example example, Side side, boolean completionOnly)
      throws UnusableRow {
    if (example instanceof Example.Conversation conversation) {
      List<Segment> segments = render(conversation, conversation.messages(), false);
      return completionOnly
          ? segments
          : segments.stream().map(s -> new Segment(s.text(), true, s.markup())).toList();
    }
    if (example instanceof Example.Text text) {
      return List.of(Segment.text(rewritten(text.text()), true));
    }
    String prompt = promptText(example, side);
    if (example instanceof Example.Prompt) {
      return List.of(Segment.text(prompt, false));
    }
    String whole = rewritten(wholeText(example, side));
    if (!whole.startsWith(prompt)) {
      throw new UnusableRow("template hh-hash rewrites the prompt's last turn with its completion");
    }
    return List.of(
        Segment.text(prompt, !completionOnly),
        Segment.text(whole.substring(prompt.length()), true));
  }

  /** The ids of what stands before the completion alone; none where a row has no such part. */
  private int[] promptIds(Example example, Side side) throws UnusableRow {
    if (example instanceof Example.Conversation conversation) {
      List<Message> messages = conversation.messages();
      return messages.get(messages.size() - 1).role() == Message.Role.ASSISTANT
          ? promptIds(example, promptSegments(example))
          : new int[0];
    }
    return example instanceof Example.Completion
            || example instanceof Example.Preference
            || example instanceof Example.Dialogues
        ? promptIds(example, List.of(Segment.text(promptText(example, side), false)))
        : new int[0];
  }

  private boolean hasOnePrompt(Example pair) throws UnusableRow {
    return !(pair instanceof Example.Dialogues)
        || promptText(pair, Side.CHOSEN).equals(promptText(pair, Side.REJECTED));
  }

  /** A prompt's ids, without the EOS that some tokenizers add behind every text. */
  private int[] promptIds(Example example, List<Segment> segments) {
    Tokenizer encoder = tokenizer(example);
    EncodedText encoded = encoder.encode(segments);
    int length = encoded.ids().length;
    while (length > 0
        && encoded.starts()[length - 1] == EncodedText.NO_SPAN
        && encoder.eosId().orElse(-1) == encoded.ids()[length - 1]) {
      length--;
    }
    return Arrays.copyOf(encoded.ids(), length);
  }

  private TokenRow tokenized(Example example, List<Segment> segments, boolean appendEos)
      throws UnusableRow {
    Tokenizer encoder = tokenizer(example);
    EncodedText encoded = encoder.encode(segments);
    boolean[] targetCharacters = new boolean[join(segments).length()];
    int position = 0;
    for (Segment segment : segments) {
      int end = position + segment.text().length();
      Arrays.fill(targetCharacters, position, end, segment.target());
      position = end;
    }
    int[] ids = encoded.ids();
    boolean[] targets = new boolean[ids.length];
    boolean previous = false;
    for (int i = 0; i < ids.length; i++) {
      // A token that the tokenizer added by itself goes with the text before it: BOS with nothing,
      // EOS with the last character.
      targets[i] =
          encoded.starts()[i] == EncodedText.NO_SPAN
              ? previous
              : anyIn(targetCharacters, encoded.starts()[i], encoded.ends()[i]);
      previous = targets[i];
    }
    if (appendEos) {
      int eos =
          encoder
              .eosId()
              .orElseThrow(
                  () ->
                      RlhfException.config(
                          "append_eos: the tokenizer names no eos_token; set append_eos: false"));
      if (ids.length == 0 || ids[ids.length - 1] != eos) {
        ids = Arrays.copyOf(ids, ids.length + 1);
        targets = Arrays.copyOf(targets, ids.length);
        ids[ids.length - 1] = eos;
        targets[ids.length - 1] = true;
      }
    }
    if (ids.length == 0) {
      throw new UnusableRow("the text has no token");
    }
    targets[0] = false;
    return new TokenRow(ids, targets);
  }

  /** A token without characters of its own counts as the one it stands before. */
  private static boolean anyIn(boolean[] targetCharacters, int start, int end) {
    for (int i = start; i < Math.max(end, start + 1) && i < targetCharacters.length; i++) {
      if (targetCharacters[i]) {
        return true;
      }
    }
    return false;
  }

  private boolean isDropped(Example example, int length) {
    return switch (options.overlong()) {
      case ERROR -> throw tooLong(example, length);
      case DROP -> true;
      case TRUNCATE -> false;
    };
  }

  private RlhfException tooLong(Example example, int length) {
    return RlhfException.input(
        "%s: %s tokens, but %s (overlong: error)".formatted(example.origin(), length, limit));
  }

  private static TokenRow cut(TokenRow row, int maxLength) {
    return row.length() <= maxLength
        ? row
        : new TokenRow(
            Arrays.copyOf(row.ids(), maxLength), Arrays.copyOf(row.targets(), maxLength));
  }

  private void checkIds(String column, int[] ids) throws UnusableRow {
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabularySize) {
        throw new UnusableRow(
            "%stoken id %s at position %s is outside the vocabulary of %s; allowed: 0 to %s"
                .formatted(column, ids[i], i, vocabularySize, vocabularySize - 1));
      }
    }
  }

  private List<Segment> promptSegments(Example example) throws UnusableRow {
    if (example instanceof Example.Conversation conversation) {
      List<Message> messages = conversation.messages();
      int last = messages.size() - 1;
      boolean answered = last >= 0 && messages.get(last).role() == Message.Role.ASSISTANT;
      return render(conversation, answered ? messages.subList(0, last) : messages, true);
    }
    return List.of(Segment.text(promptText(example, Side.CHOSEN), false));
  }

  /** The text before the completion, rewritten if the template does so. */
  private String promptText(Example example, Side side) throws UnusableRow {
    if (example instanceof Example.Prompt prompt) {
      return rewritten(prompt.prompt());
    }
    if (example instanceof Example.Completion completion) {
      return rewritten(completion.prompt());
    }
    if (example instanceof Example.Preference preference) {
      return rewritten(preference.prompt());
    }
    if (example instanceof Example.Dialogues) {
      String whole = rewritten(wholeText(example, side));
      int end =
          options.template() == Template.HH_HASH
              ? HhDialogue.hashPromptEnd(whole)
              : HhDialogue.promptEnd(whole);
      if (end < 0) {
        throw new UnusableRow(
            "chosen and rejected without prompt need a turn \\n\\nAssistant: to split at");
      }
      return whole.substring(0, end);
    }
    throw new UnusableRow("this form of row has no prompt");
  }

  private static String wholeText(Example example, Side side) throws UnusableRow {
    if (example instanceof Example.Completion completion) {
      return completion.prompt() + completion.completion();
    }
    if (example instanceof Example.Preference preference) {
      return preference.prompt()
          + (side == Side.CHOSEN ? preference.chosen() : preference.rejected());
    }
    if (example instanceof Example.Dialogues dialogues) {
      return side == Side.CHOSEN ? dialogues.chosen() : dialogues.rejected();
    }
    throw new UnusableRow("this form of row has no text");
  }

  private String rewritten(String text) throws UnusableRow {
    if (options.template() != Template.HH_HASH) {
      return text;
    }
    if (!HhDialogue.isDialogue(text)) {
      throw new UnusableRow("template hh-hash needs a dialogue that starts with \\n\\nHuman:");
    }
    return HhDialogue.toHash(text);
  }

  private List<Segment> render(
      Example.Conversation conversation, List<Message> messages, boolean open) throws UnusableRow {
    Template template = options.template();
    if (!template.rendersMessages()) {
      throw RlhfException.config(
          conversation.origin()
              + ": a row of messages needs a template, and template: "
              + template.key()
              + (template == Template.MODEL ? " cannot be interpreted yet" : " renders none")
              + "; allowed: vicuna, alpaca, alpaca-fastchat, hh, hh-hash, zephyr");
    }
    Optional<String> problem = template.problemWith(messages);
    if (problem.isPresent()) {
      throw new UnusableRow(problem.get());
    }
    Optional<String> eosText = tokenizer(conversation).eosText();
    if (template.writesEndToken() && eosText.isEmpty()) {
      throw RlhfException.config(
          "template: "
              + template.key()
              + " writes an end token, but the tokenizer names no"
              + " eos_token");
    }
    String end = eosText.orElse("");
    return open ? template.renderPrompt(messages, end) : template.render(messages, end);
  }

  private Tokenizer tokenizer(Example example) {
    if (tokenizer == null) {
      throw RlhfException.input(
          example.origin()
              + ": a row of text needs a tokenizer, and the model folder has no tokenizer.json; give"
              + " rows of input_ids");
    }
    return tokenizer;
  }

  private static boolean isPrefix(int[] prefix, int[] ids) {
    return prefix.length <= ids.length
        && Arrays.equals(prefix, 0, prefix.length, ids, 0, prefix.length);
  }

  private static String join(List<Segment> segments) {
    StringBuilder text = new StringBuilder();
    segments.forEach(segment -> text.append(segment.text()));
    return text.toString();
  }
}
