package org.rlhf4j.cli.quickstart;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/**
 * All results of a quick start.
 *
 * @param seed of the run
 * @param rewardModelAccuracy share of the held-out pairs whose better story scores higher
 * @param rewardModelSeconds that the reward model took, with its data
 * @param stages base, sft, raft, ppo
 */
record Results(
    long seed, double rewardModelAccuracy, double rewardModelSeconds, List<StageResult> stages) {
  static final String FILE = "results.json";

  /** The results as {@code results.json} holds them. */
  String json() {
    JsonMapper mapper = new JsonMapper();
    ObjectNode json = mapper.createObjectNode();
    json.put("seed", seed);
    json.put("reward_model_accuracy", rewardModelAccuracy);
    for (StageResult stage : stages) {
      json.withArray("stages")
          .addObject()
          .put("stage", stage.stage())
          .put("gold_reward", stage.gold().reward())
          .put("proxy_reward", stage.figures().proxyReward())
          .put("win_rate_vs_sft", stage.figures().winRate())
          .put("kl", stage.figures().kl())
          .put("distinct_2", stage.figures().distinct2())
          .put("mean_length", stage.figures().meanLength())
          .put("seconds", stage.seconds());
    }
    try {
      return mapper.writerWithDefaultPrettyPrinter().writeValueAsString(json) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("numbers can always be written", e);
    }
  }

  void write(Path folder) {
    AtomicFiles.write(folder.resolve(FILE), json().getBytes(StandardCharsets.UTF_8));
  }
}
