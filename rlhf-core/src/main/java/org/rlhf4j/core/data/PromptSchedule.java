package org.rlhf4j.core.data;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RandomStream;

/**
 * Which prompts each round of an online run uses: a pure function of the round, so a resumed run
 * finds its place. Prompts are visited epoch by epoch, each epoch in an order of its own; a round
 * may reach into the next epoch, but has no prompt twice.
 */
public final class PromptSchedule {
  private final int prompts;
  private final int size;
  private final long seed;
  private final boolean shuffle;

  /** What is left of the epochs that were begun, before the round {@link #next}. */
  private final Deque<Integer> waiting = new ArrayDeque<>();

  private int epoch;
  private int next;

  /**
   * A schedule.
   *
   * @param prompts in the data set
   * @param perRound prompts that are asked for; where there are fewer, a round uses all
   * @param seed of the order
   * @param shuffle false: in the files' order
   */
  public PromptSchedule(int prompts, int perRound, long seed, boolean shuffle) {
    this.prompts = prompts;
    this.size = Math.min(prompts, perRound);
    this.seed = seed;
    this.shuffle = shuffle;
  }

  /** In the data set. */
  public int prompts() {
    return prompts;
  }

  /** Prompts of every round. */
  public int size() {
    return size;
  }

  /**
   * Places of a round's prompts in the data set. Rounds that are asked for in order cost no more
   * than their own prompts.
   *
   * @param round from 0
   */
  public int[] of(int round) {
    if (round < next) {
      waiting.clear();
      epoch = 0;
      next = 0;
    }
    int[] places = advance();
    while (next <= round) {
      places = advance();
    }
    return places;
  }

  private int[] advance() {
    Set<Integer> taken = new LinkedHashSet<>();
    // A prompt that this round has already waits, in its turn, for the next one.
    List<Integer> again = new ArrayList<>();
    while (taken.size() < size) {
      if (waiting.isEmpty()) {
        for (int prompt :
            DataOrder.order(prompts, seed, RandomStream.PROMPT_ORDER, epoch++, shuffle)) {
          waiting.add(prompt);
        }
      }
      int prompt = waiting.remove();
      if (!taken.add(prompt)) {
        again.add(prompt);
      }
    }
    for (int back = again.size() - 1; back >= 0; back--) {
      waiting.addFirst(again.get(back));
    }
    next++;
    return taken.stream().mapToInt(Integer::intValue).toArray();
  }
}
