package org.rlhf4j.cli.quickstart;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;

/**
 * The data of every stage. Requests fall into three parts that have none in common: to train with,
 * to evaluate SFT and the reward model with, and to compare the stages with at the end.
 */
final class ToyData {
  /** How often the judge of the pairs to train on takes the worst story for the best. */
  static final double LABEL_NOISE = 0.1;

  static final String SFT_EVAL = "sft-eval.jsonl";

  /** Longest story in tokens. */
  static final int LONGEST = 80;

  /** What the pretrained model adds to an opening, before the last unfinished sentence is cut. */
  private static final int LONGEST_CONTINUATION = 36;

  /** At 1 the small model's spelling suffers. */
  private static final double DEMONSTRATION_TEMPERATURE = 0.7;

  /**
   * For every so many requests there is a second pair: the best story beside itself with a sentence
   * said twice. A policy that is drawn to what a reward model likes ends up repeating it, and what
   * the reward model never saw it cannot mark down.
   */
  private static final int REQUESTS_PER_ECHO = 3;

  /**
   * Half the pairs are drawn cooler than the policy samples later, since cool stories repeat
   * themselves more.
   */
  private static final double[] PAIR_TEMPERATURES = {1.0, 0.6};

  private static final long DEMONSTRATION_ROUND = 1;
  private static final long PAIR_ROUND = 2;
  private static final JsonMapper JSON = new JsonMapper();

  private final Path folder;
  private final Recipe recipe;
  private final long seed;
  private final List<Request> compared;
  private final List<Request> heldOut;
  private final List<Request> training;

  private int pairCount;

  ToyData(Path folder, Recipe recipe, long seed) {
    this.folder = folder;
    this.recipe = recipe;
    this.seed = seed;
    List<Request> requests = Request.shuffled(seed);
    this.compared = requests.subList(0, recipe.heldOut());
    this.heldOut = requests.subList(recipe.heldOut(), 2 * recipe.heldOut());
    this.training = requests.subList(2 * recipe.heldOut(), requests.size());
  }

  Path file(String name) {
    return folder.resolve(name);
  }

  /** The requests on which the stages are compared, never trained on. */
  List<Request> compared() {
    return compared;
  }

  /** The requests that nothing but evaluation uses besides. */
  List<Request> heldOut() {
    return heldOut;
  }

  /** The requests to train with. */
  List<Request> training() {
    return training;
  }

  /** Requests for a stage, the first ones used again where there are too few. */
  private List<Request> training(int from, int count) {
    List<Request> taken = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      taken.add(training.get((from + i) % training.size()));
    }
    return taken;
  }

  /** Writes sft.jsonl and sft-eval.jsonl. */
  void writeDemonstrations(Storyteller base, IntConsumer finished) {
    List<Request> requests = training(0, recipe.demonstrations());
    requests.addAll(heldOut);
    List<String> openings = new ArrayList<>();
    for (Request request : requests) {
      openings.add(Demonstrations.opening(request, seed, openings.size()));
    }
    List<List<Response>> continuations =
        base.write(
            base.rows(openings),
            new Storyteller.Draw(
                DEMONSTRATION_TEMPERATURE,
                LONGEST_CONTINUATION,
                new int[] {StartModel.STORY_START},
                new Generator.Plan(1, Storyteller.BATCH_SIZE, seed, DEMONSTRATION_ROUND)),
            finished);
    List<Map<String, String>> rows = new ArrayList<>();
    for (int i = 0; i < requests.size(); i++) {
      String story = openings.get(i) + " " + continuations.get(i).get(0).text();
      rows.add(row(requests.get(i), "completion", Demonstrations.wholeSentences(story)));
    }
    write("sft.jsonl", rows.subList(0, recipe.demonstrations()));
    write(SFT_EVAL, rows.subList(recipe.demonstrations(), rows.size()));
  }

  /**
   * Writes pairs.jsonl and pairs-eval.jsonl: of the stories to each request the one that the judge
   * likes best, and the one that it likes least; now and then the other way round, but for the
   * held-out pairs. Where the judge likes all of them equally there is no pair.
   */
  void writePairs(Storyteller sft, IntConsumer finished) {
    List<Request> requests = training(recipe.demonstrations(), recipe.pairRequests());
    requests.addAll(heldOut);
    List<List<List<Response>>> byTemperature = new ArrayList<>();
    for (double temperature : PAIR_TEMPERATURES) {
      List<String> prompts = new ArrayList<>();
      for (int i = byTemperature.size(); i < requests.size(); i += PAIR_TEMPERATURES.length) {
        prompts.add(requests.get(i).prompt());
      }
      byTemperature.add(
          sft.write(
              sft.rows(prompts),
              new Storyteller.Draw(
                  temperature,
                  LONGEST,
                  new int[] {sft.tokenizer().eosId().orElseThrow()},
                  new Generator.Plan(
                      recipe.storiesPerRequest(),
                      Storyteller.BATCH_SIZE,
                      seed,
                      PAIR_ROUND + byTemperature.size())),
              finished));
    }
    int noise = 0;
    List<Map<String, String>> pairs = new ArrayList<>();
    List<Map<String, String>> heldOutPairs = new ArrayList<>();
    for (int i = 0; i < requests.size(); i++) {
      Request request = requests.get(i);
      boolean trainedOn = i < recipe.pairRequests();
      List<Response> stories =
          byTemperature.get(i % PAIR_TEMPERATURES.length).get(i / PAIR_TEMPERATURES.length);
      Comparator<String> byGold =
          Comparator.comparingDouble(story -> GoldJudge.gold(request, story));
      List<String> texts = stories.stream().map(Response::text).sorted(byGold).toList();
      String worst = texts.get(0);
      String best = texts.get(texts.size() - 1);
      List<String[]> candidates = new ArrayList<>();
      candidates.add(new String[] {best, worst});
      if (i % REQUESTS_PER_ECHO == 0) {
        candidates.add(new String[] {best, Demonstrations.echoing(best)});
      }
      for (String[] two : candidates) {
        if (byGold.compare(two[0], two[1]) > 0) {
          boolean turned =
              trainedOn
                  && CounterRandom.uniform(seed, RandomStream.NOISE, 0, noise++, 0) < LABEL_NOISE;
          Map<String, String> row = row(request, "chosen", two[turned ? 1 : 0]);
          row.put("rejected", two[turned ? 0 : 1]);
          (trainedOn ? pairs : heldOutPairs).add(row);
        }
      }
    }
    pairCount = pairs.size();
    write("pairs.jsonl", pairs);
    write("pairs-eval.jsonl", heldOutPairs);
  }

  /** The pairs that there are to train on. */
  int pairCount() {
    return pairCount;
  }

  /** Writes prompts.jsonl and prompts-eval.jsonl. */
  void writePrompts() {
    int count = Math.min(training.size(), recipe.raft().iterations() * recipe.raft().prompts());
    write("prompts.jsonl", prompts(training(recipe.demonstrations(), count)));
    write("prompts-eval.jsonl", prompts(compared));
  }

  private static List<Map<String, String>> prompts(List<Request> requests) {
    List<Map<String, String>> rows = new ArrayList<>();
    for (Request request : requests) {
      rows.add(Map.of("prompt", request.prompt()));
    }
    return rows;
  }

  private static Map<String, String> row(Request request, String key, String story) {
    Map<String, String> row = new LinkedHashMap<>();
    row.put("prompt", request.prompt());
    row.put(key, story);
    return row;
  }

  private void write(String name, List<Map<String, String>> rows) {
    StringBuilder lines = new StringBuilder();
    try {
      for (Map<String, String> row : rows) {
        lines.append(JSON.writeValueAsString(row)).append('\n');
      }
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("texts can always be written", e);
    }
    AtomicFiles.write(file(name), lines.toString().getBytes(StandardCharsets.UTF_8));
  }
}
