package org.rlhf4j.raft;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.generate.Scorer;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;

/** Draws responses from the policy and measures them, in parts, so that it can be stopped. */
final class Rollouts {
  private static final int NAME_LENGTH = 16;

  private final TrainingRun run;
  private final Models models;
  private final RewardFunction reward;
  private final SamplingConfig sampling;
  private final int batchSize;

  /**
   * The models, all the caller's to close.
   *
   * @param policy that is trained
   * @param start frozen, to measure the distance from
   * @param generator on the policy
   */
  record Models(CausalLm policy, CausalLm start, Generator generator) {}

  /**
   * Roll-outs of a run.
   *
   * @param batchSize responses that are drawn and measured side by side
   */
  Rollouts(
      TrainingRun run,
      Models models,
      RewardFunction reward,
      SamplingConfig sampling,
      int batchSize) {
    this.run = run;
    this.models = models;
    this.reward = reward;
    this.sampling = sampling;
    this.batchSize = batchSize;
  }

  /**
   * Which responses are drawn.
   *
   * @param phase for the progress bars
   * @param samples of each prompt
   * @param seed of all draws
   * @param round another round draws other responses
   */
  record Draw(String phase, int samples, long seed, long round) {}

  /**
   * Draws and measures.
   *
   * @param stored where the responses are kept, with their scores in the end: drawn by the same
   *     policy, they are taken from there; null: nowhere
   * @return null where somebody asked to stop
   */
  Rollout make(List<PromptRow> prompts, Draw draw, Path stored) {
    String name = stored == null ? "" : name(prompts, draw);
    List<List<Response>> responses =
        stored == null ? null : IterationFiles.readSamples(stored, name, prompts, draw.samples());
    if (responses == null) {
      responses = draw(prompts, draw);
      if (responses == null) {
        return null;
      }
      if (stored != null) {
        IterationFiles.writeSamples(stored, name, prompts, responses, null);
      }
    }
    Rollout rollout = measure(prompts, responses, draw.phase());
    if (rollout != null && stored != null) {
      IterationFiles.writeSamples(stored, name, prompts, responses, rollout.rewards());
    }
    return rollout;
  }

  /**
   * Names everything that the responses are a function of. The policy is told by the norms of its
   * weights, which any step changes.
   */
  private String name(List<PromptRow> prompts, Draw draw) {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
    String settings =
        String.join(
            "|",
            sampling.toString(),
            draw.toString(),
            Integer.toString(batchSize),
            run.computeType().name());
    digest.update(settings.getBytes(StandardCharsets.UTF_8));
    try (TensorScope scope = run.torch().scope()) {
      for (float norm : run.torch().ops().norms(scope, models.policy().trained().masters())) {
        digest.update(ByteBuffer.allocate(Float.BYTES).putFloat(0, norm));
      }
    }
    for (PromptRow prompt : prompts) {
      ByteBuffer ids = ByteBuffer.allocate(Integer.BYTES * (prompt.ids().length + 1));
      ids.putInt(prompt.index());
      Arrays.stream(prompt.ids()).forEach(ids::putInt);
      digest.update(ids.flip());
    }
    return HexFormat.of().formatHex(digest.digest()).substring(0, NAME_LENGTH);
  }

  private List<List<Response>> draw(List<PromptRow> prompts, Draw draw) {
    Generator.Plan plan = new Generator.Plan(draw.samples(), batchSize, draw.seed(), draw.round());
    List<List<Response>> responses = new ArrayList<>();
    prompts.forEach(prompt -> responses.add(null));
    Integer[] byLength = new Integer[prompts.size()];
    Arrays.setAll(byLength, i -> i);
    Arrays.sort(byLength, Comparator.comparingInt(i -> prompts.get(i).ids().length));
    int perBatch = Math.max(1, batchSize / draw.samples());
    try (Progress progress =
        run.console().progress(draw.phase() + ": sample", prompts.size(), "prompts")) {
      for (int from = 0; from < byLength.length; from += perBatch) {
        if (run.stopRequested()) {
          return null;
        }
        List<Integer> places =
            List.of(byLength).subList(from, Math.min(byLength.length, from + perBatch));
        List<List<Response>> batch =
            models
                .generator()
                .generate(places.stream().map(prompts::get).toList(), plan, done -> {});
        for (int i = 0; i < places.size(); i++) {
          responses.set(places.get(i), batch.get(i));
        }
        progress.advance(places.size());
      }
    }
    return responses;
  }

  private Rollout measure(List<PromptRow> prompts, List<List<Response>> responses, String phase) {
    List<Completion> completions = Rollout.completions(prompts, responses);
    double[] rewards = new double[completions.size()];
    double[] kls = new double[completions.size()];
    Scorer scorer = new Scorer(batchSize, done -> {});
    int perPart = Math.max(1, batchSize / responses.get(0).size()) * responses.get(0).size();
    try (Progress progress =
        run.console().progress(phase + ": score", completions.size(), "responses")) {
      for (int from = 0; from < rewards.length; from += perPart) {
        if (run.stopRequested()) {
          return null;
        }
        List<Completion> part = completions.subList(from, Math.min(rewards.length, from + perPart));
        double[] ofPart;
        try {
          ofPart = RewardFunction.checked(reward, part);
        } catch (StopSignal.Stopped e) {
          return null;
        }
        System.arraycopy(ofPart, 0, rewards, from, ofPart.length);
        List<TokenRow> rows = part.stream().map(Rollout::row).toList();
        List<float[]> ofPolicy = scorer.logProbs(models.policy(), rows);
        List<float[]> ofStart = scorer.logProbs(models.start(), rows);
        for (int i = 0; i < part.size(); i++) {
          kls[from + i] = sumOfDifferences(ofPolicy.get(i), ofStart.get(i));
        }
        progress.advance(part.size());
      }
    }
    return new Rollout(prompts, responses, rewards, kls);
  }

  private static double sumOfDifferences(float[] logProbs, float[] others) {
    double sum = 0;
    for (int i = 0; i < logProbs.length; i++) {
      sum += (double) logProbs[i] - others[i];
    }
    return sum;
  }
}
