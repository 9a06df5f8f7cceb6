package org.rlhf4j.ppo;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.data.DataOrder;

/**
 * Which prompts each roll-out uses: a pure function, so a resumed run finds its place. Prompts are
 * visited epoch by epoch, each epoch in an order of its own; a roll-out may reach into the next
 * epoch, but has no prompt twice.
 *
 * @param prompts in the data set
 * @param perRollout prompts that are asked for; where there are fewer, a roll-out uses all
 * @param seed of the order
 * @param shuffle false: in the files' order
 */
record PromptSchedule(int prompts, int perRollout, long seed, boolean shuffle) {
  /** Prompts of every roll-out. */
  int size() {
    return Math.min(prompts, perRollout);
  }

  /** Places of a roll-out's prompts in the data set, roll-outs counted from 0. */
  int[] of(int rollout) {
    Deque<Integer> waiting = new ArrayDeque<>();
    Set<Integer> taken = Set.of();
    for (int i = 0, epoch = 0; i <= rollout; i++) {
      taken = new LinkedHashSet<>();
      // A prompt that this roll-out has already waits, in its turn, for the next one.
      List<Integer> again = new ArrayList<>();
      while (taken.size() < size()) {
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
    }
    return taken.stream().mapToInt(Integer::intValue).toArray();
  }
}
