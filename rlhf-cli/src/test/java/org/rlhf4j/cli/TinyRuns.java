package org.rlhf4j.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.rlhf4j.core.testing.TinyModel;

/** Models and rows of a few letters, and command lines that train on them. */
final class TinyRuns {
  final Path model;
  final Path rewardModel;
  final Path rows;
  final Path pairs;
  final Path prompts;

  TinyRuns(Path folder) throws IOException {
    model = TinyModel.causalLm(folder.resolve("model"), 1);
    rewardModel = TinyModel.rewardModel(folder.resolve("reward-model"), 2);
    rows = folder.resolve("rows.jsonl");
    pairs = folder.resolve("pairs.jsonl");
    prompts = folder.resolve("prompts.jsonl");
    Random random = new Random(3);
    List<String> rowLines = new ArrayList<>();
    List<String> pairLines = new ArrayList<>();
    List<String> promptLines = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      String prompt = "count ".repeat(1 + random.nextInt(3));
      String one = "a".repeat(1 + random.nextInt(20));
      String other = "b".repeat(1 + random.nextInt(20));
      rowLines.add("{\"prompt\": \"%s\", \"completion\": \"%s\"}".formatted(prompt, one));
      pairLines.add(
          "{\"prompt\": \"%s\", \"chosen\": \"%s\", \"rejected\": \"%s\"}"
              .formatted(prompt, one, other));
      promptLines.add("{\"prompt\": \"%s%d\"}".formatted(prompt, i));
    }
    Files.write(rows, rowLines);
    Files.write(pairs, pairLines);
    Files.write(prompts, promptLines);
  }

  /** A verb that trains into a folder, in fp32 unless told. */
  List<String> train(String verb, Path output, String... more) {
    Path data =
        switch (verb) {
          case "sft" -> rows;
          case "reward" -> pairs;
          default -> prompts;
        };
    List<String> words = new ArrayList<>();
    Collections.addAll(words, verb);
    put(words, "--model_name_or_path", model);
    put(words, "--dataset_path", data);
    put(words, "--output_dir", output);
    put(words, "--device", "cpu");
    put(words, "--dtype", "fp32");
    put(words, "--max_length", 64);
    put(words, "--learning_rate", 0.01);
    put(words, "--per_device_train_batch_size", 2);
    if (verb.equals("raft")) {
      put(words, "--reward_model_name_or_path", rewardModel);
      put(words, "--max_new_tokens", 16);
      put(words, "--samples_per_prompt", 4);
      put(words, "--prompts_per_iteration", 12);
      put(words, "--num_raft_iterations", 3);
    } else if (verb.equals("ppo")) {
      put(words, "--reward_model_name_or_path", rewardModel);
      put(words, "--max_new_tokens", 16);
      put(words, "--rollout_batch_size", 12);
      put(words, "--mini_batch_size", 6);
      put(words, "--num_layers_unfrozen", 1);
      put(words, "--total_episodes", 36);
    } else if (List.of("grpo", "rloo", "reinforce-pp").contains(verb)) {
      put(words, "--reward_model_name_or_path", rewardModel);
      put(words, "--max_new_tokens", 16);
      put(words, "--rollout_batch_size", 6);
      put(words, "--num_generations", 2);
      put(words, "--mini_batch_size", 6);
      put(words, "--num_layers_unfrozen", 1);
      put(words, "--total_episodes", 36);
    } else {
      put(words, "--max_steps", 12);
    }
    List<String> given = Arrays.asList(more);
    for (int i = 0; i < given.size(); i += 2) {
      put(words, given.get(i), given.get(i + 1));
    }
    return words;
  }

  /** Sets an option, or sets it anew. */
  private static void put(List<String> words, String option, Object value) {
    int place = words.indexOf(option);
    if (place < 0) {
      words.add(option);
      words.add(value.toString());
    } else {
      words.set(place + 1, value.toString());
    }
  }
}
