package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.RlhfException;

/** Expected texts are typed from the templates' descriptions. */
class TemplateTest {
  private static final String VICUNA_SYSTEM =
      "A chat between a curious user and an artificial intelligence assistant. The assistant gives"
          + " helpful, detailed, and polite answers to the user's questions.";
  private static final String ALPACA_SYSTEM =
      "Below is an instruction that describes a task. Write a response that appropriately completes"
          + " the request.";

  private static final List<Message> DIALOGUE =
      List.of(user("Hi"), assistant("Hello!"), user("Bye"), assistant("Ciao"));

  @Test
  void vicuna() {
    assertEquals(
        VICUNA_SYSTEM + " USER: Hi ASSISTANT: «Hello!</s>»USER: Bye ASSISTANT: «Ciao</s>»",
        marked(Template.VICUNA.render(DIALOGUE, "</s>")));
    assertEquals(
        VICUNA_SYSTEM + " USER: Hi ASSISTANT: «Hello!</s>»USER: Bye ASSISTANT:",
        marked(Template.VICUNA.renderPrompt(DIALOGUE.subList(0, 3), "</s>")));
    assertEquals(
        "SYS. USER: Hi ASSISTANT:",
        marked(Template.VICUNA.renderPrompt(List.of(system("SYS."), user("Hi")), "</s>")));
  }

  @Test
  void alpaca() {
    assertEquals(
        ALPACA_SYSTEM + "\n\n### Instruction:\nHi\n\n### Response:«Hello!<e>»",
        marked(Template.ALPACA.render(DIALOGUE.subList(0, 2), "<e>")));
    assertEquals(
        Template.alpacaPrompt("Hi", ""),
        marked(Template.ALPACA.renderPrompt(List.of(user("Hi")), "<e>")));
    assertEquals(
        "Below is an instruction that describes a task, paired with an input that provides further"
            + " context. Write a response that appropriately completes the request."
            + "\n\n### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:",
        Template.alpacaPrompt("Add", "1 2"));
    assertTrue(Template.ALPACA.problemWith(DIALOGUE).orElseThrow().contains("alpaca-fastchat"));
  }

  @Test
  void alpacaOfFastChat() {
    assertEquals(
        ALPACA_SYSTEM
            + "\n\n### Instruction: Hi\n\n### Response: «Hello!</s>»### Instruction: Bye\n\n###"
            + " Response:",
        marked(Template.ALPACA_FASTCHAT.renderPrompt(DIALOGUE.subList(0, 3), "</s>")));
  }

  @Test
  void hh() {
    assertEquals(
        "\n\nHuman: Hi\n\nAssistant: «Hello!»\n\nHuman: Bye\n\nAssistant: «Ciao»",
        marked(Template.HH.render(DIALOGUE, "</s>")));
    assertEquals(
        "\n\nHuman: Hi\n\nAssistant:",
        marked(Template.HH.renderPrompt(DIALOGUE.subList(0, 1), "</s>")));
  }

  @Test
  void hhHash() {
    assertEquals(
        "###Human: Hi###Assistant: «Hello!»###Human: Bye###Assistant: «Ciao»",
        marked(
            Template.HH_HASH.render(
                List.of(user(" Hi\n"), assistant("Hello! "), user("Bye"), assistant("\nCiao")),
                "</s>")));
    assertEquals(
        "###Human: Hi###Assistant:",
        marked(Template.HH_HASH.renderPrompt(DIALOGUE.subList(0, 1), "</s>")));
  }

  @Test
  void zephyrAlwaysHasASystemBlock() {
    assertEquals(
        "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\n",
        marked(Template.ZEPHYR.renderPrompt(DIALOGUE.subList(0, 1), "</s>")));
    assertEquals(
        "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\n«Hello!</s>»\n",
        marked(
            Template.ZEPHYR.render(
                List.of(system("Be brief."), user("Hi"), assistant("Hello!")), "</s>")));
  }

  @Test
  void peoplesWordsAreNeverMarkup() {
    for (Template template :
        List.of(Template.VICUNA, Template.ALPACA_FASTCHAT, Template.HH, Template.ZEPHYR)) {
      for (Segment segment : template.render(DIALOGUE, "</s>")) {
        boolean theirs = DIALOGUE.stream().anyMatch(m -> m.content().equals(segment.text()));
        assertEquals(!theirs, segment.markup(), template + " " + segment);
      }
    }
  }

  @Test
  void rewritesDialoguesOfHh() {
    assertEquals(
        "###Human: How are you?###Assistant: Fine.\nAnd you?###Human: Well###Assistant:",
        HhDialogue.toHash(
            "\n\nHuman: How are you?\n\nAssistant:  Fine.\nAnd you? \n\nHuman: Well\n\nAssistant:"));
    String rewritten = "###Human: a###Assistant: b";
    assertEquals(rewritten, HhDialogue.toHash(rewritten));
    assertFalse(HhDialogue.isDialogue("Human: a"));
    assertThrows(IllegalArgumentException.class, () -> HhDialogue.toHash("Human: a"));
    assertEquals(22, HhDialogue.promptEnd("\n\nHuman: x\n\nAssistant: y"));
    assertEquals(-1, HhDialogue.promptEnd("\n\nHuman: x"));
  }

  @Test
  void conversationsThatCannotBeRenderedSayWhy() {
    assertTrue(problem(Template.VICUNA).contains("empty"));
    assertTrue(problem(Template.VICUNA, assistant("a")).contains("turn 1 is assistant"));
    assertTrue(problem(Template.VICUNA, user("a"), user("b")).contains("turn 2 is user"));
    assertTrue(problem(Template.VICUNA, system("s")).contains("no user message"));
    assertTrue(problem(Template.HH, system("s"), user("a")).contains("system"));
    assertTrue(problem(Template.HH, user("")).contains("empty"));
    assertThrows(IllegalArgumentException.class, () -> Template.NONE.render(DIALOGUE, "</s>"));
  }

  @Test
  void keysAreThoseOfTheSettings() {
    for (String key :
        List.of(
            "model", "vicuna", "alpaca", "alpaca-fastchat", "hh", "hh-hash", "zephyr", "none")) {
      assertEquals(key, Template.fromKey(key).key());
    }
    RlhfException e = assertThrows(RlhfException.class, () -> Template.fromKey("chatml"));
    assertTrue(e.getMessage().contains("alpaca-fastchat"), e.getMessage());
  }

  private static String problem(Template template, Message... messages) {
    return template.problemWith(List.of(messages)).orElseThrow();
  }

  /** The text with runs of targets in «…». */
  private static String marked(List<Segment> segments) {
    List<String> parts = new ArrayList<>();
    for (Segment segment : segments) {
      if (!segment.text().isEmpty()) {
        parts.add(segment.target() ? "«" + segment.text() + "»" : segment.text());
      }
    }
    return String.join("", parts).replace("»«", "");
  }

  private static Message system(String content) {
    return new Message(Message.Role.SYSTEM, content);
  }

  private static Message user(String content) {
    return new Message(Message.Role.USER, content);
  }

  private static Message assistant(String content) {
    return new Message(Message.Role.ASSISTANT, content);
  }
}
