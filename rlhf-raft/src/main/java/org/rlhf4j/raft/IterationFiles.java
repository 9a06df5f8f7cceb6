package org.rlhf4j.raft;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.FinishReason;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code samples.jsonl} and {@code selected.jsonl} of an iteration. The first has the rows that
 * {@code generate} writes, with the prompt's ids and each response's {@code score}; {@code select}
 * reads them. The second has the rows that it selects, which {@code sft} reads.
 */
final class IterationFiles {
  private static final Logger LOG = LoggerFactory.getLogger(IterationFiles.class);
  private static final JsonMapper JSON = new JsonMapper();
  private static final int IGNORED = -100;

  private IterationFiles() {}

  /** The files' folder, iterations counted from 1. */
  static Path folder(Path outputDir, int iteration) {
    return outputDir.resolve("iterations").resolve("iteration-" + iteration);
  }

  /**
   * Writes responses.
   *
   * @param run names the policy and the settings that drew them
   * @param scores {@code [prompts * samples]}, null where they are not known yet
   */
  static void writeSamples(
      Path file,
      String run,
      List<PromptRow> prompts,
      List<List<Response>> responses,
      double[] scores) {
    List<ObjectNode> rows = new ArrayList<>();
    int place = 0;
    for (int p = 0; p < prompts.size(); p++) {
      PromptRow prompt = prompts.get(p);
      ObjectNode row = JSON.createObjectNode().put("index", prompt.index());
      row.put("prompt", prompt.text());
      row.set("prompt_token_ids", numbers(prompt.ids()));
      ArrayNode written = row.putArray("responses");
      for (Response response : responses.get(p)) {
        ObjectNode one = written.addObject().put("text", response.text());
        one.set("token_ids", numbers(response.tokenIds()));
        ArrayNode logProbs = one.putArray("log_probs");
        for (float logProb : response.logProbs()) {
          logProbs.add(logProb);
        }
        one.put("finish_reason", response.finishReason().label());
        if (scores != null) {
          one.put("score", scores[place]);
        }
        place++;
      }
      rows.add(row.put("run", run));
    }
    write(file, rows);
  }

  /**
   * Reads responses that were drawn before an interruption.
   *
   * @return null where there are none, or they are not those that would be drawn now
   */
  static List<List<Response>> readSamples(
      Path file, String run, List<PromptRow> prompts, int samples) {
    if (!Files.exists(file)) {
      return null;
    }
    List<JsonNode> rows;
    try {
      rows = parse(file);
    } catch (JsonProcessingException e) {
      LOG.warn("{} is damaged and made again: {}", file, e.getOriginalMessage());
      return null;
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    if (rows.size() != prompts.size()) {
      return null;
    }
    List<List<Response>> responses = new ArrayList<>();
    for (int p = 0; p < rows.size(); p++) {
      JsonNode row = rows.get(p);
      boolean same =
          row.path("run").asText().equals(run)
              && row.path("index").asInt(-1) == prompts.get(p).index()
              && row.path("responses").size() == samples;
      if (!same) {
        return null;
      }
      List<Response> ofPrompt = new ArrayList<>();
      row.path("responses").forEach(one -> ofPrompt.add(response(one)));
      responses.add(ofPrompt);
    }
    return responses;
  }

  private static Response response(JsonNode one) {
    JsonNode written = one.path("log_probs");
    float[] logProbs = new float[written.size()];
    for (int i = 0; i < logProbs.length; i++) {
      logProbs[i] = written.path(i).floatValue();
    }
    FinishReason reason =
        Arrays.stream(FinishReason.values())
            .filter(known -> known.label().equals(one.path("finish_reason").asText()))
            .findFirst()
            .orElseThrow();
    return new Response(one.path("text").asText(), ids(one.path("token_ids")), logProbs, reason);
  }

  /**
   * Writes selected responses: as texts with their ids beside them where there are texts, else as
   * ids.
   *
   * @param places of the selected ones in {@code completions}, best first
   */
  static void writeSelected(
      Path file, List<Completion> completions, int[] places, double[] scores, boolean texts) {
    List<ObjectNode> rows = new ArrayList<>();
    for (int place : places) {
      Completion completion = completions.get(place);
      ObjectNode row =
          JSON.createObjectNode()
              .put("index", completion.index())
              .put("sample", completion.sample())
              .put("score", scores[place]);
      if (texts) {
        row.put("prompt", completion.prompt()).put("completion", completion.text());
        row.set("prompt_token_ids", numbers(completion.promptIds()));
        row.set("token_ids", numbers(completion.ids()));
      } else {
        putTokens(row, completion.promptIds(), completion.ids());
      }
      rows.add(row);
    }
    write(file, rows);
  }

  /** A prompt and a response as a training row of ids, the prompt without labels. */
  static void putTokens(ObjectNode row, int[] prompt, int[] response) {
    ArrayNode ids = numbers(prompt);
    ids.addAll(numbers(response));
    row.set("input_ids", ids);
    int[] ignored = new int[prompt.length];
    Arrays.fill(ignored, IGNORED);
    ArrayNode labels = numbers(ignored);
    labels.addAll(numbers(response));
    row.set("labels", labels);
  }

  /** Writes rows to train on, in a form that needs no tokenizer. */
  static void writeRows(Path file, List<TokenRow> rows) {
    List<ObjectNode> written = new ArrayList<>();
    for (TokenRow row : rows) {
      int prompt = 0;
      while (!row.targets()[prompt]) {
        prompt++;
      }
      ObjectNode one = JSON.createObjectNode();
      putTokens(
          one,
          Arrays.copyOf(row.ids(), prompt),
          Arrays.copyOfRange(row.ids(), prompt, row.length()));
      written.add(one);
    }
    write(file, written);
  }

  /** Reads what {@link #writeRows} wrote. */
  static List<TokenRow> readRows(Path file) {
    List<TokenRow> rows = new ArrayList<>();
    try {
      for (JsonNode row : parse(file)) {
        int prompt = 0;
        while (row.path("labels").path(prompt).asInt() == IGNORED) {
          prompt++;
        }
        rows.add(TokenRow.targetsFrom(ids(row.path("input_ids")), prompt));
      }
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    return rows;
  }

  /** Writes rows, all or none. */
  static void write(Path file, List<ObjectNode> rows) {
    StringBuilder lines = new StringBuilder();
    for (ObjectNode row : rows) {
      lines.append(row).append('\n');
    }
    AtomicFiles.write(file, lines.toString().getBytes(StandardCharsets.UTF_8));
  }

  private static List<JsonNode> parse(Path file) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String text : Files.readAllLines(file)) {
      rows.add(JSON.readTree(text));
    }
    return rows;
  }

  private static RlhfException unreadable(Path file, IOException e) {
    return RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
  }

  static ArrayNode numbers(int[] values) {
    ArrayNode numbers = JSON.createArrayNode();
    for (int value : values) {
      numbers.add(value);
    }
    return numbers;
  }

  static int[] ids(JsonNode list) {
    int[] ids = new int[list.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = list.path(i).asInt();
    }
    return ids;
  }
}
