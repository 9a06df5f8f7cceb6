package org.rlhf4j.core.text;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import org.rlhf4j.core.RlhfException;

/**
 * How a conversation becomes one text. Targets are the assistant's contents and the end tokens
 * behind them, nothing else. None of these templates writes BOS: the tokenizer adds it.
 */
public enum Template {
  /** The model's own chat template; it is not interpreted, so it renders nothing. */
  MODEL,
  /** Vicuna v1.1: {@code SYSTEM USER: … ASSISTANT: …</s>USER: …}. */
  VICUNA,
  /** Stanford Alpaca: one instruction, answered right after {@code ### Response:}. */
  ALPACA,
  /** FastChat's variant of Alpaca: any number of turns, headers and contents on one line. */
  ALPACA_FASTCHAT,
  /** Anthropic's HH data: {@code \n\nHuman: …\n\nAssistant: …}, without an end token. */
  HH,
  /**
   * LMFlow's rewriting of HH for RAFT: {@code ###Human: …###Assistant: …}, contents stripped,
   * without an end token. Also rewrites texts of HH's own form.
   */
  HH_HASH,
  /** Zephyr: {@code <|user|>\n…</s>\n<|assistant|>\n…</s>\n}, a system block always first. */
  ZEPHYR,
  /** Texts stay as they are. */
  NONE;

  private static final String VICUNA_SYSTEM =
      "A chat between a curious user and an artificial intelligence assistant. The assistant gives"
          + " helpful, detailed, and polite answers to the user's questions.";
  private static final String ALPACA_SYSTEM =
      "Below is an instruction that describes a task. Write a response that appropriately completes"
          + " the request.";
  private static final String ALPACA_SYSTEM_WITH_INPUT =
      "Below is an instruction that describes a task, paired with an input that provides further"
          + " context. Write a response that appropriately completes the request.";

  /** The name in YAML and on the command line, for example {@code alpaca-fastchat}. */
  public String key() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  @Override
  public String toString() {
    return key();
  }

  /**
   * The template of a name.
   *
   * @throws RlhfException a configuration error that lists the names
   */
  public static Template fromKey(String key) {
    for (Template template : values()) {
      if (template.key().equals(key)) {
        return template;
      }
    }
    String allowed = Arrays.stream(values()).map(Template::key).collect(Collectors.joining(", "));
    throw RlhfException.config("template: unknown name '" + key + "'; allowed: " + allowed);
  }

  /** Whether conversations can be rendered, which {@link #MODEL} and {@link #NONE} cannot. */
  public boolean rendersMessages() {
    return this != MODEL && this != NONE;
  }

  /** Whether the template ends an assistant's turn with the end token. */
  public boolean writesEndToken() {
    return switch (this) {
      case VICUNA, ALPACA, ALPACA_FASTCHAT, ZEPHYR -> true;
      case MODEL, HH, HH_HASH, NONE -> false;
    };
  }

  /**
   * Why this template cannot render a conversation, or empty. It can if an optional system message
   * is followed by turns of user, assistant, user, … with no empty content.
   */
  public Optional<String> problemWith(List<Message> messages) {
    if (messages.isEmpty()) {
      return Optional.of("messages is empty");
    }
    boolean hasSystem = messages.get(0).role() == Message.Role.SYSTEM;
    if (hasSystem && (this == HH || this == HH_HASH)) {
      return Optional.of("template " + key() + " has no place for a system message");
    }
    List<Message> turns = messages.subList(hasSystem ? 1 : 0, messages.size());
    if (turns.isEmpty()) {
      return Optional.of("messages holds no user message");
    }
    for (int i = 0; i < turns.size(); i++) {
      Message.Role expected = i % 2 == 0 ? Message.Role.USER : Message.Role.ASSISTANT;
      if (turns.get(i).role() != expected) {
        return Optional.of(
            "messages must go user, assistant, user, … after an optional system message, but turn "
                + (i + 1)
                + " is "
                + turns.get(i).role().name().toLowerCase(Locale.ROOT));
      }
      if (turns.get(i).content().isEmpty()) {
        return Optional.of("turn " + (i + 1) + " of messages is empty");
      }
    }
    if (this == ALPACA && turns.size() > 2) {
      return Optional.of(
          "template alpaca takes one instruction and one answer; use alpaca-fastchat for more");
    }
    return Optional.empty();
  }

  /**
   * Renders a whole conversation.
   *
   * @param messages a conversation without a {@linkplain #problemWith problem}
   * @param eosText how the tokenizer spells the end token; used where {@link #writesEndToken()}
   * @return the segments of the text, in order
   */
  public List<Segment> render(List<Message> messages, String eosText) {
    Optional<String> problem = problemWith(messages);
    if (!rendersMessages() || problem.isPresent()) {
      throw new IllegalArgumentException(problem.orElse("template " + key() + " renders nothing"));
    }
    Message first = messages.get(0);
    boolean hasSystem = first.role() == Message.Role.SYSTEM;
    List<Segment> segments = new ArrayList<>();
    renderSystem(segments, hasSystem ? first.content() : null, eosText);
    for (Message turn : messages.subList(hasSystem ? 1 : 0, messages.size())) {
      if (turn.role() == Message.Role.USER) {
        renderUser(segments, turn.content(), eosText);
      } else {
        renderAssistant(segments, turn.content(), eosText);
      }
    }
    return segments;
  }

  /**
   * Renders a conversation that the user has spoken last in, and the header under which the
   * assistant is to answer.
   */
  public List<Segment> renderPrompt(List<Message> messages, String eosText) {
    List<Segment> segments = new ArrayList<>(render(messages, eosText));
    segments.add(Segment.markup(openHeader(), false));
    return segments;
  }

  /**
   * The Alpaca prompt of an instruction with or without an input.
   *
   * @param instruction the task
   * @param input further context; empty for none
   */
  public static String alpacaPrompt(String instruction, String input) {
    return input.isEmpty()
        ? ALPACA_SYSTEM + "\n\n### Instruction:\n" + instruction + "\n\n### Response:"
        : ALPACA_SYSTEM_WITH_INPUT
            + "\n\n### Instruction:\n"
            + instruction
            + "\n\n### Input:\n"
            + input
            + "\n\n### Response:";
  }

  /** An assistant's header without an answer: what a prompt ends with. */
  private String openHeader() {
    return switch (this) {
      case VICUNA -> "ASSISTANT:";
      case ALPACA -> "\n\n### Response:";
      case ALPACA_FASTCHAT -> "### Response:";
      case HH -> "\n\nAssistant:";
      case HH_HASH -> "###Assistant:";
      case ZEPHYR -> "<|assistant|>\n";
      case MODEL, NONE -> throw new IllegalStateException(key());
    };
  }

  private void renderSystem(List<Segment> out, String system, String eosText) {
    switch (this) {
      case VICUNA -> {
        addSystem(out, system, VICUNA_SYSTEM);
        out.add(Segment.markup(" ", false));
      }
      case ALPACA -> addSystem(out, system, ALPACA_SYSTEM);
      case ALPACA_FASTCHAT -> {
        addSystem(out, system, ALPACA_SYSTEM);
        out.add(Segment.markup("\n\n", false));
      }
      case ZEPHYR -> {
        out.add(Segment.markup("<|system|>\n", false));
        addSystem(out, system, "");
        out.add(Segment.markup(eosText + "\n", false));
      }
      case HH, HH_HASH, MODEL, NONE -> {}
    }
  }

  private static void addSystem(List<Segment> out, String system, String builtIn) {
    out.add(system == null ? Segment.markup(builtIn, false) : Segment.text(system, false));
  }

  private void renderUser(List<Segment> out, String content, String eosText) {
    String before =
        switch (this) {
          case VICUNA -> "USER: ";
          case ALPACA -> "\n\n### Instruction:\n";
          case ALPACA_FASTCHAT -> "### Instruction: ";
          case HH -> "\n\nHuman: ";
          case HH_HASH -> "###Human: ";
          case ZEPHYR -> "<|user|>\n";
          case MODEL, NONE -> throw new IllegalStateException(key());
        };
    String after =
        switch (this) {
          case VICUNA -> " ";
          case ALPACA_FASTCHAT -> "\n\n";
          case ZEPHYR -> eosText + "\n";
          default -> "";
        };
    out.add(Segment.markup(before, false));
    out.add(Segment.text(this == HH_HASH ? content.strip() : content, false));
    out.add(Segment.markup(after, false));
  }

  private void renderAssistant(List<Segment> out, String content, String eosText) {
    String separator =
        switch (this) {
          case ALPACA, ZEPHYR -> "";
          default -> " ";
        };
    out.add(Segment.markup(openHeader() + separator, false));
    out.add(Segment.text(this == HH_HASH ? content.strip() : content, true));
    if (writesEndToken()) {
      out.add(Segment.markup(eosText, true));
    }
    if (this == ZEPHYR) {
      out.add(Segment.markup("\n", false));
    }
  }
}
