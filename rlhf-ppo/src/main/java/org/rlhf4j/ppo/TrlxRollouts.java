package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.TrainingRun;
import org.rlhf4j.ppo.rollout.Responses;
import org.rlhf4j.ppo.rollout.Rewards;
import org.rlhf4j.ppo.rollout.RolloutConfig;
import org.rlhf4j.ppo.rollout.Seconds;

/** Roll-outs as trlX makes them, chunk by chunk. */
final class TrlxRollouts {
  private final TrainingRun run;
  private final PpoNetworks networks;
  private final Responses responses;
  private final Settings settings;

  /**
   * How roll-outs are made.
   *
   * @param chunkSize responses of which experience is made at once
   * @param clip scores are held within ±clip; infinite: as they are
   */
  record Settings(TrlxText text, int chunkSize, double clip) {}

  /**
   * A roll-out.
   *
   * @param rollout the responses after their way through text
   * @param samples to learn from
   * @param scaling of scores, those of this roll-out known
   * @param measuredKl what the KL controller gets of it; NaN: nothing
   * @param figures by metric name, beside those of the roll-out
   */
  record Made(
      Rollout rollout,
      List<Experience> samples,
      ScoreScaling scaling,
      double measuredKl,
      Map<String, Object> figures) {}

  /** Roll-outs of a run; {@code responses} draws and rewards. */
  TrlxRollouts(TrainingRun run, PpoNetworks networks, Responses responses, Settings settings) {
    this.run = run;
    this.networks = networks;
    this.responses = responses;
    this.settings = settings;
  }

  /**
   * The way through text of a model, whose padding token is EOS where it has none of its own.
   *
   * @param stops strings at which responses are cut
   */
  static TrlxText text(TrlxCompat version, Tokenizer tokenizer, List<String> stops) {
    if (tokenizer == null) {
      throw RlhfException.config(
          "trlx_compat " + version + ": needs a tokenizer beside model_name_or_path");
    }
    int padId = tokenizer.padId().orElse(tokenizer.eosId().orElse(-1));
    return TrlxText.of(version, tokenizer, stops == null ? List.of() : stops, padId);
  }

  /** Roll-outs as a configuration wants them. */
  static TrlxRollouts of(
      PpoConfig config, TrainingRun run, PpoNetworks networks, Responses responses) {
    RolloutConfig rollout = config.rollout();
    TrlxText text = text(config.trlxCompat(), run.tokenizer(), rollout.sampling().stop());
    return new TrlxRollouts(
        run,
        networks,
        responses,
        new Settings(text, rollout.generationBatchSize(), rollout.shaping().clip()));
  }

  /** How steps on these roll-outs are made. */
  TrlxStep.Settings steps(UpdateConfig update) {
    return new TrlxStep.Settings(
        settings.text.version(),
        places(),
        settings.text.padId(),
        new TrlxMiniBatch.Settings(
            update.gamma(),
            update.lam(),
            update.cliprange(),
            update.cliprangeValue(),
            update.vfCoef()));
  }

  /** The positions that the networks' tokens get. */
  private TrlxPlaces places() {
    return TrlxPlaces.of(settings.text.version(), networks.policy().decoder().spec());
  }

  /**
   * Draws one response to each prompt, and makes experience of them.
   *
   * @param before scaling of scores
   * @param coefficient β of the KL penalty
   */
  Made make(Responses.Draw draw, ScoreScaling before, double coefficient) {
    long begun = System.nanoTime();
    List<Response> drawn = responses.sample(draw);
    long sampled = System.nanoTime();
    int size = drawn.size();
    double[] scores = new double[size];
    double[][] tokenScores = new double[size][];
    ScoreScaling scaling = before;
    List<TrlxExperience> chunks = new ArrayList<>();
    List<Response> through = new ArrayList<>();
    try (Progress progress = run.console().progress(draw.phase() + ": score", size, "responses")) {
      for (int from = 0; from < size; from += settings.chunkSize) {
        responses.checkStop();
        int to = Math.min(size, from + settings.chunkSize);
        List<Completion> completions =
            completions(draw.prompts().subList(from, to), drawn.subList(from, to));
        Rewards.Found found = responses.reward(completions, draw.answers());
        System.arraycopy(found.scores(), 0, scores, from, to - from);
        double[][] raw = found.tokenScores();
        if (raw == null) {
          raw =
              Arrays.stream(found.scores())
                  .mapToObj(score -> new double[] {score})
                  .toArray(double[][]::new);
        } else {
          System.arraycopy(raw, 0, tokenScores, from, to - from);
        }
        TrlxScores scaled = TrlxScores.of(settings.text.version(), raw, settings.clip, scaling);
        scaling = scaled.scaling();
        chunks.add(experience(completions, scaled.scores(), coefficient));
        progress.advance(to - from);
      }
    }
    List<TrlxSample> samples = chunks.stream().flatMap(c -> c.samples().stream()).toList();
    List<Experience> experience = new ArrayList<>();
    for (int i = 0; i < size; i++) {
      through.add(response(samples.get(i), drawn.get(i)));
      experience.add(samples.get(i).kept(draw.prompts().get(i).index()));
    }
    Rollout rollout =
        new Rollout(
            draw.prompts(),
            through,
            scores,
            tokenScores[0] == null ? null : tokenScores,
            perToken(samples, TrlxSample::logProbs),
            perToken(samples, TrlxSample::referenceLogProbs),
            perToken(samples, TrlxSample::values),
            new Seconds((sampled - begun) * 1e-9, (System.nanoTime() - sampled) * 1e-9));
    double rewarded =
        samples.stream().mapToDouble(sample -> Arrays.stream(sample.rewards()).sum()).sum();
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.OBJECTIVE_NON_SCORE_REWARD, -coefficient * rollout.meanKl());
    figures.put(MetricNames.OBJECTIVE_RLHF_REWARD, rewarded / size);
    double measured = settings.text.version().measuredKl(chunks);
    return new Made(rollout, experience, scaling, measured, figures);
  }

  private List<Completion> completions(List<PromptRow> prompts, List<Response> drawn) {
    List<TrlxText.Texts> texts =
        settings.text.texts(
            prompts.stream().map(PromptRow::ids).toList(),
            drawn.stream().map(Response::tokenIds).toList());
    List<Completion> completions = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      PromptRow prompt = prompts.get(i);
      completions.add(
          new Completion(
              prompt.index(),
              0,
              texts.get(i).prompt(),
              texts.get(i).text(),
              prompt.ids(),
              settings.text.ids(texts.get(i).output())));
    }
    return completions;
  }

  private TrlxExperience experience(
      List<Completion> completions, double[][] scores, double coefficient) {
    TrlxChunk chunk =
        new TrlxChunk(
            settings.text.version(),
            places(),
            settings.text.padId(),
            completions.stream().map(Completion::promptIds).toList(),
            completions.stream().map(Completion::ids).toList());
    PpoNetworks.Scored scored =
        run.guarded(
            () ->
                completions.stream()
                    .map(c -> TokenRowWriter.line(Responses.row(c.promptIds(), c.ids())))
                    .toList(),
            () -> networks.score(chunk.batch(), null));
    return chunk.experience(scored, scores, coefficient);
  }

  private Response response(TrlxSample sample, Response drawn) {
    float[] logProbs = narrow(sample.logProbs(), sample.response().length);
    String text = settings.text.tokenizer().decode(sample.response());
    return new Response(text, sample.response(), logProbs, drawn.finishReason());
  }

  private static float[][] perToken(
      List<TrlxSample> samples, Function<TrlxSample, double[]> numbers) {
    return samples.stream()
        .map(sample -> narrow(numbers.apply(sample), sample.response().length))
        .toArray(float[][]::new);
  }

  private static float[] narrow(double[] numbers, int count) {
    float[] narrow = new float[count];
    for (int i = 0; i < count; i++) {
      narrow[i] = (float) numbers[i];
    }
    return narrow;
  }
}
