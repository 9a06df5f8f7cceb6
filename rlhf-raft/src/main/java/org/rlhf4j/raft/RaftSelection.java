package org.rlhf4j.raft;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.rlhf4j.core.RlhfException;

/**
 * Which responses RAFT trains on (Dong et al., "RAFT: Reward rAnked FineTuning", 2023): the best of
 * each prompt's, or the best of all.
 */
public final class RaftSelection {
  /**
   * LMFlow's rule for {@code discard_pattern}: a response with a {@code #}, or with fewer than two
   * characters.
   */
  public static final String LMFLOW_DISCARD_PATTERN = "(?s)#|\\A.?\\z";

  /** Keeps a product that should be a whole number, as 100 * 0.29, from losing one to rounding. */
  private static final double ROUNDING = 1e-9;

  private static final Pattern LMFLOW_TURN = Pattern.compile("###Human", Pattern.LITERAL);

  private RaftSelection() {}

  /**
   * A scored response.
   *
   * @param prompt whose response it is
   * @param sample its number among those to the prompt
   * @param text looked at by the discard pattern
   * @param reward a finite number
   */
  public record Candidate(int prompt, int sample, String text, double reward) {}

  /**
   * How to select.
   *
   * @param selection among which responses the best are looked for
   * @param keepFraction share of the responses to keep, of a prompt or of all; at least one is
   *     kept. Discarded responses count among those that the share is taken of
   * @param tieBreak which of two equal rewards goes first
   * @param discard a response in which it is found is never kept; null: none
   */
  public record Rule(
      Selection selection, double keepFraction, TieBreak tieBreak, Pattern discard) {}

  /**
   * Where each response went, as places in the list of candidates: every one is in exactly one of
   * the three.
   *
   * @param selected {@code PER_PROMPT}: prompt by prompt in the order of first appearance, each
   *     one's best first; {@code GLOBAL}: the best first
   * @param passedOver not among the best
   * @param discarded by the pattern
   */
  public record Outcome(int[] selected, int[] passedOver, int[] discarded) {}

  /**
   * Selects.
   *
   * @throws RlhfException of a reward that is no finite number, naming its response
   */
  public static Outcome select(List<Candidate> candidates, Rule rule) {
    Map<Integer, List<Integer>> groups = new LinkedHashMap<>();
    for (int place = 0; place < candidates.size(); place++) {
      Candidate candidate = candidates.get(place);
      if (!Double.isFinite(candidate.reward())) {
        throw RlhfException.nonFinite(
            "the reward of prompt %d, response %d is %s; responses cannot be ranked by it"
                .formatted(candidate.prompt(), candidate.sample(), candidate.reward()));
      }
      int group = rule.selection() == Selection.PER_PROMPT ? candidate.prompt() : 0;
      groups.computeIfAbsent(group, key -> new ArrayList<>()).add(place);
    }
    List<Integer> selected = new ArrayList<>();
    List<Integer> passedOver = new ArrayList<>();
    List<Integer> discarded = new ArrayList<>();
    for (List<Integer> group : groups.values()) {
      List<Integer> eligible = new ArrayList<>();
      for (int place : group) {
        String text = candidates.get(place).text();
        boolean out = rule.discard() != null && rule.discard().matcher(text).find();
        (out ? discarded : eligible).add(place);
      }
      eligible.sort(bestFirst(candidates, rule.tieBreak()));
      int kept = Math.min(eligible.size(), keepCount(group.size(), rule.keepFraction()));
      selected.addAll(eligible.subList(0, kept));
      passedOver.addAll(eligible.subList(kept, eligible.size()));
    }
    return new Outcome(toArray(selected), toArray(passedOver), toArray(discarded));
  }

  /** How many of that many responses a share keeps: rounded down, at least one. */
  public static int keepCount(int responses, double keepFraction) {
    return Math.max(1, (int) (responses * keepFraction + ROUNDING));
  }

  private static Comparator<Integer> bestFirst(List<Candidate> candidates, TieBreak tieBreak) {
    // Adding 0 makes -0 and 0 equal, as they are for a reader.
    Comparator<Integer> byReward =
        Comparator.comparingDouble((Integer place) -> candidates.get(place).reward() + 0.0)
            .reversed();
    Comparator<Integer> byPlace = Comparator.naturalOrder();
    return byReward.thenComparing(tieBreak == TieBreak.FIRST ? byPlace : byPlace.reversed());
  }

  /**
   * LMFlow's cleaning of a response: the first non-empty part between {@code ###Human} markers,
   * without blanks around it, then without {@code #} around it.
   */
  public static String cleanedAsLmflow(String text) {
    String first =
        Arrays.stream(LMFLOW_TURN.split(text))
            .filter(part -> !part.isEmpty())
            .findFirst()
            .orElse("");
    return first.strip().replaceAll("\\A#+|#+\\z", "");
  }

  private static int[] toArray(List<Integer> places) {
    return places.stream().mapToInt(Integer::intValue).toArray();
  }
}
