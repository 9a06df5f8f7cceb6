package org.rlhf4j.cli.quickstart;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;

/**
 * The stories that supervised fine-tuning learns from: a first sentence or two from a template, and
 * the pretrained model's own continuation of it, cut after its last whole sentence.
 *
 * <p>They teach the form (a request, a story, the end) and not what the judge likes: as with hasty
 * writers, only some stories have all in them that was asked for, and some begin sadly.
 */
final class Demonstrations {
  private static final List<String> OPENINGS =
      List.of(
          "Once upon a time, there was a little {child} named {name}. {He} had {a thing}.",
          "One day, {name} found {a thing} in the park.",
          "{name} had {a thing}. {He} took it to {his} friend.",
          "Once upon a time, there was a {child} named {name}. {He} liked to go outside.",
          "One day, {name} and {his} mom went to the store.",
          "{name} saw a {thing} on the ground.",
          "Once upon a time, there was {a thing}. It was all alone.",
          "Once upon a time, there was a {child} named {name}. {He} was sad.",
          "{name} lost {his} {thing}. {He} looked and looked.",
          "One day, a {child} went to the park with {his} dad.");

  private Demonstrations() {}

  /** The template of a demonstration, filled in. */
  static String opening(Request request, long seed, int number) {
    double uniform = CounterRandom.uniform(seed, RandomStream.USER, 1, number, 0);
    boolean girl = request.hero().girl();
    return OPENINGS
        .get((int) (uniform * OPENINGS.size()))
        .replace("{name}", request.hero().name())
        .replace("{a thing}", request.thingWithArticle())
        .replace("{thing}", request.thing())
        .replace("{child}", girl ? "girl" : "boy")
        .replace("{He}", girl ? "She" : "He")
        .replace("{his}", girl ? "her" : "his");
  }

  /** A text up to the end of its last whole sentence; the whole text where none ends. */
  static String wholeSentences(String text) {
    String flat = text.replaceAll("\\s+", " ").strip();
    for (int end = flat.length(); end > 0; end--) {
      char last = flat.charAt(end - 1);
      if (last == '"' && end > 1 && isEnd(flat.charAt(end - 2)) || isEnd(last)) {
        return flat.substring(0, end);
      }
    }
    return flat;
  }

  /**
   * A story whose last sentence gives way to a copy of an earlier one, so that it is no longer; the
   * story itself if it has one sentence only.
   */
  static String echoing(String story) {
    List<String> sentences = List.of(story.split("(?<=[.!?][\"”’]?) +"));
    int last = sentences.size() - 1;
    if (last < 1) {
      return story;
    }
    List<String> echoing = new ArrayList<>(sentences.subList(0, last));
    echoing.add(sentences.get(last / 2));
    return String.join(" ", echoing);
  }

  private static boolean isEnd(char character) {
    return character == '.' || character == '!' || character == '?';
  }
}
