package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.function.ToDoubleFunction;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.Packing;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Diversity;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.train.LanguageModelStep;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;

/**
 * What a model's stories to the held-out requests are worth. All models draw with the same random
 * numbers, at temperature 1.
 */
final class Evaluation {
  /** Another round than any that training draws from. */
  private static final long ROUND = 1L << 40;

  private static final int ROWS_PER_BATCH = 16;

  private final Storyteller model;
  private final List<Request> requests;
  private final List<List<Response>> stories;
  private final List<Completion> completions = new ArrayList<>();
  private final List<TokenRow> rows = new ArrayList<>();

  private Evaluation(Storyteller model, List<Request> requests, List<List<Response>> stories) {
    this.model = model;
    this.requests = requests;
    this.stories = stories;
  }

  /** Lets a model write {@code samples} stories to each request. */
  static Evaluation of(
      Storyteller model, List<Request> requests, int samples, long seed, IntConsumer finished) {
    List<PromptRow> prompts = model.rows(requests.stream().map(Request::prompt).toList());
    List<List<Response>> stories =
        model.write(
            prompts,
            new Storyteller.Draw(
                1,
                ToyData.LONGEST,
                new int[] {model.tokenizer().eosId().orElseThrow()},
                new Generator.Plan(samples, Storyteller.BATCH_SIZE, seed, ROUND)),
            finished);
    Evaluation evaluation = new Evaluation(model, requests, stories);
    for (PromptRow prompt : prompts) {
      for (Response story : stories.get(prompt.index())) {
        evaluation.add(prompt, story);
      }
    }
    return evaluation;
  }

  private void add(PromptRow prompt, Response story) {
    int[] ids = Arrays.copyOf(prompt.ids(), prompt.ids().length + story.tokenIds().length);
    System.arraycopy(story.tokenIds(), 0, ids, prompt.ids().length, story.tokenIds().length);
    rows.add(TokenRow.targetsFrom(ids, prompt.ids().length));
    int sample = completions.size() % stories.get(0).size();
    completions.add(
        new Completion(
            prompt.index(), sample, prompt.text(), story.text(), prompt.ids(), story.tokenIds()));
  }

  /** The first story to a request. */
  String story(int request) {
    return stories.get(request).get(0).text();
  }

  /** The request with this number. */
  Request request(int number) {
    return requests.get(number);
  }

  /** The judge's reward and its terms, means over the stories. */
  StageResult.Gold gold() {
    List<GoldJudge.Verdict> all = verdicts().stream().flatMap(List::stream).toList();
    return new StageResult.Gold(
        mean(all, GoldJudge.Verdict::gold),
        mean(all, GoldJudge.Verdict::asked),
        mean(all, GoldJudge.Verdict::cheerful),
        mean(all, GoldJudge.Verdict::fresh),
        mean(all, GoldJudge.Verdict::ended));
  }

  private static double mean(
      List<GoldJudge.Verdict> verdicts, ToDoubleFunction<GoldJudge.Verdict> term) {
    return verdicts.stream().mapToDouble(term).average().orElseThrow();
  }

  /** The judge's verdicts, {@code [requests][samples]}. */
  private List<List<GoldJudge.Verdict>> verdicts() {
    List<List<GoldJudge.Verdict>> verdicts = new ArrayList<>();
    for (int i = 0; i < requests.size(); i++) {
      Request request = requests.get(i);
      verdicts.add(
          stories.get(i).stream().map(story -> GoldJudge.judge(request, story.text())).toList());
    }
    return verdicts;
  }

  /** Mean score of a reward model. */
  double proxy(RewardFunction reward) {
    return proxies(reward).stream().flatMapToDouble(Arrays::stream).average().orElseThrow();
  }

  /** The scores of a reward model, {@code [requests][samples]}. */
  List<double[]> proxies(RewardFunction reward) {
    double[] scores = RewardFunction.checked(reward, completions);
    List<double[]> proxies = new ArrayList<>();
    int from = 0;
    for (List<Response> each : stories) {
      proxies.add(Arrays.copyOfRange(scores, from, from + each.size()));
      from += each.size();
    }
    return proxies;
  }

  /** How often a story here beats one of {@code other}, see {@link #winRate(List, List)}. */
  double winRate(Evaluation other) {
    return winRate(golds(), other.golds());
  }

  /** The judge's rewards, {@code [requests][samples]}. */
  List<double[]> golds() {
    return verdicts().stream()
        .map(each -> each.stream().mapToDouble(GoldJudge.Verdict::gold).toArray())
        .toList();
  }

  /**
   * How often a story's gold reward is above that of another story to the same request, ties half,
   * over all pairs of one's stories with the other's.
   *
   * @param ours {@code [requests][samples]}
   * @param theirs {@code [requests][samples]}
   */
  static double winRate(List<double[]> ours, List<double[]> theirs) {
    double wins = 0;
    int all = 0;
    for (int i = 0; i < ours.size(); i++) {
      for (double mine : ours.get(i)) {
        for (double its : theirs.get(i)) {
          wins += (1 + Double.compare(mine, its)) / 2.0;
          all++;
        }
      }
    }
    return wins / all;
  }

  /** Mean over the stories of log-probability here minus that under {@code start}, in nats. */
  double kl(Storyteller start) {
    double[] here = model.logProbs(rows);
    double[] there = start.logProbs(rows);
    double sum = 0;
    for (int i = 0; i < here.length; i++) {
      sum += here[i] - there[i];
    }
    return sum / here.length;
  }

  /** Different pairs of neighbouring tokens over all of them. */
  double distinct2() {
    return Diversity.distinct2(completions.stream().map(Completion::ids).toList());
  }

  /** Mean tokens of a story. */
  double meanLength() {
    return completions.stream().mapToInt(one -> one.ids().length).average().orElseThrow();
  }

  /** The loss on held-out demonstrations, in nats per token. */
  double loss(Path demonstrations) {
    RowEncoder encoder =
        new RowEncoder(
            model.tokenizer(),
            model.model().decoder().spec().vocabularySize(),
            new RowEncoder.Options(
                Template.NONE,
                model.model().decoder().spec().maxPositions(),
                Overlong.ERROR,
                true,
                true));
    List<TokenRow> held = EncodedDataset.loadRows(List.of(demonstrations), encoder, 0).rows();
    List<PackedRow> packed =
        Packing.NONE.pack(held, model.model().decoder().spec().maxPositions()).rows();
    return LanguageModelStep.evaluate(model.model(), packed, ROWS_PER_BATCH).loss();
  }
}
