package org.rlhf4j.cli.quickstart;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The true reward of the toy world. It is known, so that the quick start can tell whether training
 * on a learned reward served what was really wanted; no trainer ever sees it.
 *
 * <pre>
 * gold     = brevity · (asked + 3 · cheerful + fresh + ended)           between -3 and 6
 * asked    = 1/2 [the name] + 1/4 [the thing] + 1/4 [adjective and thing side by side]
 * cheerful = (different cheerful words - different sad words) / 3,      within [-1, 1]
 * fresh    = 1 - 5 · share of the word trigrams that occurred before,   at least 0
 * ended    = 1 if the last character ends a sentence, else 0
 * brevity  = words / 20,                                                at most 1
 * </pre>
 *
 * <p>No single trick wins: every term is bounded, a cheerful word counts once however often it
 * occurs, repeating costs, and a few right words are too short for a story.
 */
final class GoldJudge {
  private static final int ENOUGH_CHEERFUL_WORDS = 3;
  private static final int ENOUGH_WORDS = 20;
  private static final double COST_OF_REPEATING = 5;
  private static final double CHEER = 3;

  /**
   * Forms of one word count once. Play, love and friends are not among them: every other story of
   * the model has them.
   */
  private static final List<Set<String>> CHEERFUL =
      List.of(
          Set.of("happy", "happily"),
          Set.of("smile", "smiled", "smiles", "smiling"),
          Set.of("laugh", "laughed", "laughing"),
          Set.of("fun", "funny"),
          Set.of("hug", "hugged", "hugs"),
          Set.of("kind"),
          Set.of("nice"),
          Set.of("proud"),
          Set.of("excited"),
          Set.of("glad"),
          Set.of("joy"),
          Set.of("good", "best"),
          Set.of("great", "wonderful"),
          Set.of("thank", "thanked", "thanks"),
          Set.of("beautiful"),
          Set.of("warm"),
          Set.of("safe"),
          Set.of("surprise", "surprised"),
          Set.of("dance", "danced", "dancing"),
          Set.of("sing", "sang", "singing"),
          Set.of("yummy"));

  private static final List<Set<String>> SAD =
      List.of(
          Set.of("sad", "sadly"),
          Set.of("cry", "cried", "crying"),
          Set.of("scared", "afraid"),
          Set.of("angry", "mad"),
          Set.of("hurt"),
          Set.of("lost"),
          Set.of("broke", "broken"),
          Set.of("alone", "lonely"),
          Set.of("bad", "mean"),
          Set.of("sick"),
          Set.of("worried"),
          Set.of("sorry"));

  private static final Pattern WORD = Pattern.compile("[a-z]+");
  private static final Pattern SENTENCE_END = Pattern.compile("[.!?][\"”’]?$");

  private GoldJudge() {}

  /**
   * The terms of the formula.
   *
   * @param asked in [0, 1]
   * @param cheerful in [-1, 1]
   * @param fresh in [0, 1]
   * @param ended 0 or 1
   * @param brevity factor on all of them, in [0, 1]
   */
  record Verdict(double asked, double cheerful, double fresh, double ended, double brevity) {
    double gold() {
      return brevity * (asked + CHEER * cheerful + fresh + ended);
    }
  }

  /** Judges a story that was written to a request. */
  static Verdict judge(Request request, String story) {
    List<String> words = words(story);
    Set<String> present = new HashSet<>(words);
    double difference = count(CHEERFUL, present) - count(SAD, present);
    double cheerful = Math.max(-1, Math.min(1, difference / ENOUGH_CHEERFUL_WORDS));
    double fresh = Math.max(0, 1 - COST_OF_REPEATING * repeatedTrigrams(words));
    double ended = SENTENCE_END.matcher(story.strip()).find() ? 1 : 0;
    double brevity = Math.min(1, (double) words.size() / ENOUGH_WORDS);
    return new Verdict(asked(request, words), cheerful, fresh, ended, brevity);
  }

  /** The gold reward of a story. */
  static double gold(Request request, String story) {
    return judge(request, story).gold();
  }

  private static double asked(Request request, List<String> words) {
    double asked = words.contains(request.hero().name().toLowerCase(Locale.ROOT)) ? 0.5 : 0;
    if (words.contains(request.thing())) {
      asked += 0.25;
    }
    for (int i = 1; i < words.size(); i++) {
      if (words.get(i - 1).equals(request.adjective()) && words.get(i).equals(request.thing())) {
        return asked + 0.25;
      }
    }
    return asked;
  }

  private static int count(List<Set<String>> groups, Set<String> present) {
    int count = 0;
    for (Set<String> forms : groups) {
      count += forms.stream().anyMatch(present::contains) ? 1 : 0;
    }
    return count;
  }

  /** The share of trigrams that are not there for the first time; 0 without trigrams. */
  private static double repeatedTrigrams(List<String> words) {
    int trigrams = words.size() - 2;
    if (trigrams < 1) {
      return 0;
    }
    Set<List<String>> different = new HashSet<>();
    for (int i = 0; i < trigrams; i++) {
      different.add(words.subList(i, i + 3));
    }
    return (double) (trigrams - different.size()) / trigrams;
  }

  private static List<String> words(String story) {
    List<String> words = new ArrayList<>();
    Matcher matcher = WORD.matcher(story.toLowerCase(Locale.ROOT));
    while (matcher.find()) {
      words.add(matcher.group());
    }
    return words;
  }
}
