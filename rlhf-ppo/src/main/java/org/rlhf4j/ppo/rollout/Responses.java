package org.rlhf4j.ppo.rollout;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;

/** Draws responses from the policy and has them rewarded, in parts, so that it can be stopped. */
public final class Responses {
  private final TrainingRun run;
  private final Generator generator;
  private final Rewards rewards;
  private final Settings settings;
  private Runnable beforeFailure = () -> {};

  /**
   * How responses are made.
   *
   * @param batchSize responses that are drawn and rewarded side by side, at least one prompt's
   * @param seed of all draws
   * @param stop looked at between two batches
   */
  public record Settings(int batchSize, long seed, StopSignal stop) {}

  /** Responses of a run; everything is the caller's to close. */
  public Responses(TrainingRun run, Generator generator, Rewards rewards, Settings settings) {
    this.run = run;
    this.generator = generator;
    this.rewards = rewards;
    this.settings = settings;
  }

  /**
   * Prompts to answer.
   *
   * @param phase for the progress bars
   * @param prompts at least one
   * @param answers the data set's own, by the prompt's index; looked at for a delta reward only
   * @param round another round draws other responses
   */
  public record Draw(
      String phase, List<PromptRow> prompts, Map<Integer, Completion> answers, long round) {}

  /**
   * Responses, those to one prompt side by side.
   *
   * @param prompts of the responses, {@code [responses]}
   * @param responses {@code [responses]}
   * @param rewards of the responses
   * @param sampledAt the clock behind the last draw, in nanoseconds
   */
  public record Drawn(
      List<PromptRow> prompts, List<Response> responses, Rewards.Found rewards, long sampledAt) {}

  /**
   * Draws so many responses to each prompt.
   *
   * @throws StopSignal.Stopped where somebody asked to stop
   */
  public Drawn draw(Draw draw, int samples) {
    List<PromptRow> prompts = new ArrayList<>();
    for (PromptRow prompt : draw.prompts()) {
      for (int number = 0; number < samples; number++) {
        prompts.add(prompt);
      }
    }
    int promptsPerBatch = Math.max(1, settings.batchSize() / samples);
    List<Response> responses = sample(draw, samples, promptsPerBatch);
    long sampledAt = System.nanoTime();
    List<Completion> completions = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      completions.add(completion(prompts.get(i), i % samples, responses.get(i)));
    }
    Rewards.Found found = reward(draw, completions, promptsPerBatch * samples);
    return new Drawn(prompts, responses, found, sampledAt);
  }

  /** The worth of some responses; see {@link Rewards#of}. */
  public Rewards.Found reward(List<Completion> completions, Map<Integer, Completion> answers) {
    try {
      return rewards.of(completions, answers);
    } catch (StopSignal.Stopped e) {
      throw e;
    } catch (RuntimeException | Error e) {
      try {
        beforeFailure.run();
      } catch (RuntimeException | Error failed) {
        e.addSuppressed(failed);
      }
      throw e;
    }
  }

  /**
   * What is done where the reward fails, whatever it throws, before that is thrown: the networks
   * are unharmed.
   */
  public void beforeFailure(Runnable rescue) {
    beforeFailure = rescue;
  }

  /** Looks whether somebody asked to stop. */
  public void checkStop() {
    settings.stop().check();
  }

  /** Draws one response to each prompt, without a reward. */
  public List<Response> sample(Draw draw) {
    return sample(draw, 1, settings.batchSize());
  }

  private List<Response> sample(Draw draw, int samples, int promptsPerBatch) {
    List<PromptRow> prompts = draw.prompts();
    Generator.Plan plan =
        new Generator.Plan(samples, settings.batchSize(), settings.seed(), draw.round());
    Response[] responses = new Response[prompts.size() * samples];
    Integer[] byLength = new Integer[prompts.size()];
    Arrays.setAll(byLength, i -> i);
    Arrays.sort(byLength, Comparator.comparingInt(i -> prompts.get(i).ids().length));
    try (Progress progress =
        run.console().progress(draw.phase() + ": sample", prompts.size(), "prompts")) {
      for (int from = 0; from < byLength.length; from += promptsPerBatch) {
        settings.stop().check();
        List<Integer> places =
            List.of(byLength).subList(from, Math.min(byLength.length, from + promptsPerBatch));
        List<List<Response>> batch =
            generator.generate(places.stream().map(prompts::get).toList(), plan, done -> {});
        for (int i = 0; i < places.size(); i++) {
          for (int number = 0; number < samples; number++) {
            responses[places.get(i) * samples + number] = batch.get(i).get(number);
          }
        }
        progress.advance(places.size());
      }
    }
    return List.of(responses);
  }

  private Rewards.Found reward(Draw draw, List<Completion> completions, int batchSize) {
    double[] scores = new double[completions.size()];
    double[][] tokenScores = new double[completions.size()][];
    boolean isDense = false;
    try (Progress progress =
        run.console().progress(draw.phase() + ": reward", scores.length, "responses")) {
      for (int from = 0; from < scores.length; from += batchSize) {
        settings.stop().check();
        int to = Math.min(scores.length, from + batchSize);
        Rewards.Found found = reward(completions.subList(from, to), draw.answers());
        System.arraycopy(found.scores(), 0, scores, from, to - from);
        isDense = found.tokenScores() != null;
        if (isDense) {
          System.arraycopy(found.tokenScores(), 0, tokenScores, from, to - from);
        }
        progress.advance(to - from);
      }
    }
    return new Rewards.Found(scores, isDense ? tokenScores : null);
  }

  /**
   * A response with its prompt, as a reward function takes it.
   *
   * @param number among the responses to the prompt, from 0
   */
  public static Completion completion(PromptRow prompt, int number, Response response) {
    return new Completion(
        prompt.index(), number, prompt.text(), response.text(), prompt.ids(), response.tokenIds());
  }

  /** A response behind a prompt; the response's tokens are the targets. */
  public static TokenRow row(int[] promptIds, int[] ids) {
    int[] all = Arrays.copyOf(promptIds, promptIds.length + ids.length);
    System.arraycopy(ids, 0, all, promptIds.length, ids.length);
    return TokenRow.targetsFrom(all, promptIds.length);
  }
}
