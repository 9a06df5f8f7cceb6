package org.rlhf4j.ppo.rollout;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntToLongFunction;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.PromptSchedule;
import org.rlhf4j.core.report.Console;

/**
 * The roll-outs of a run, as long as nothing ends one early.
 *
 * @param schedule which prompts come when
 * @param prompts that are answered in all, each time that one comes
 * @param totalSteps optimizer steps in all
 */
public record RolloutPlan(PromptSchedule schedule, long prompts, long totalSteps) {

  /**
   * Plans a run of so many prompts, or where none are given of {@code num_train_epochs} passes,
   * which {@code max_steps} makes shorter or longer; says where there are fewer steps than asked
   * for.
   *
   * @param asked prompts that are answered in all; null where none are given
   * @param stepsOn optimizer steps on a roll-out, by its prompts
   */
  public static RolloutPlan of(
      PromptSchedule schedule,
      Long asked,
      TrainingConfig training,
      IntToLongFunction stepsOn,
      Console console) {
    int maxSteps = training.maxSteps();
    long prompts =
        asked == null
            ? Math.max(1, Math.round(training.numTrainEpochs() * schedule.prompts()))
            : asked;
    RolloutPlan plan = new RolloutPlan(schedule, prompts, 0);
    int last = plan.rollouts() - 1;
    long onEach = stepsOn.applyAsLong(schedule.size());
    long steps = last * onEach + stepsOn.applyAsLong(plan.size(last));
    if (maxSteps > steps && asked == null) {
      long rollouts = (maxSteps + onEach - 1) / onEach;
      return new RolloutPlan(schedule, rollouts * schedule.size(), maxSteps);
    }
    if (maxSteps > steps) {
      console.warn(
          "max_steps %d: the run has %d steps and ends with them; a larger total_episodes makes it longer"
              .formatted(maxSteps, steps));
    }
    return new RolloutPlan(schedule, prompts, maxSteps > 0 ? Math.min(steps, maxSteps) : steps);
  }

  /** How many roll-outs there are. */
  public int rollouts() {
    return Math.toIntExact((prompts + schedule.size() - 1) / schedule.size());
  }

  /** Prompts of a roll-out: the last one has those that are left. */
  public int size(int rollout) {
    return (int) Math.min(schedule.size(), prompts - before(rollout));
  }

  /** Prompts of the roll-outs before this one. */
  public long before(int rollout) {
    return Math.min(prompts, (long) rollout * schedule.size());
  }

  /** The prompts of a roll-out. */
  public List<PromptRow> pick(int rollout, List<PromptRow> all) {
    int[] places = schedule.of(rollout);
    List<PromptRow> picked = new ArrayList<>();
    for (int i = 0; i < size(rollout); i++) {
      picked.add(all.get(places[i]));
    }
    return picked;
  }

  /** A roll-out's name for people. */
  public String phase(int rollout) {
    return "roll-out " + (rollout + 1) + "/" + rollouts();
  }
}
