package org.rlhf4j.core.report;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/**
 * {@code README.md} of a saved model: how it was made and how to load it. States only what it is
 * given.
 *
 * @param name the model's name, as the last part of {@code output_dir}
 * @param path {@code output_dir} as it was given
 * @param method the verb that made it: {@code sft}, {@code reward} or {@code raft}
 * @param version the library's version
 * @param baseModel the start model as it was named
 * @param sequenceClassification whether the folder holds a reward model, else a causal LM
 * @param adapter whether it holds an adapter of the start model, else a model of its own
 * @param tokenizer whether the folder has a tokenizer
 * @param data one entry per data file
 * @param config the merged configuration
 * @param metrics the last figures by metric name, up to the model's step
 * @param step the optimizer step that the model is of
 */
public record ModelCard(
    String name,
    String path,
    String method,
    String version,
    String baseModel,
    boolean sequenceClassification,
    boolean adapter,
    boolean tokenizer,
    List<Provenance.DataFile> data,
    Map<String, ?> config,
    Map<String, ?> metrics,
    long step) {
  /** The file's name within {@code output_dir}. */
  public static final String FILE_NAME = "README.md";

  private static final List<String> DATA_HEADER = List.of("use", "file", "rows", "SHA-256");

  /** The card's Markdown. */
  public String render() {
    StringBuilder card = new StringBuilder(frontMatter());
    card.append("\n# ").append(name).append("\n\n").append(whatItIs());
    card.append("\n## How it was made\n\n");
    card.append(table(List.of("setting", "value"), rows(config)));
    card.append("\n## Data\n\n").append(table(DATA_HEADER, dataRows()));
    card.append("\n## Results\n\n").append(table(List.of("metric", "value"), rows(metrics)));
    card.append("\nThe figures are the last up to step ")
        .append(step)
        .append(", which the model is of; all of them stand in `metrics.jsonl`, the")
        .append(" versions, hashes and the command in `provenance.json`.\n");
    return card.append("\n## How to load it\n\n").append(howToLoad()).toString();
  }

  /** Writes {@code README.md} into the folder. */
  public void write(Path outputDir) {
    AtomicFiles.write(outputDir.resolve(FILE_NAME), render().getBytes(StandardCharsets.UTF_8));
  }

  /**
   * The metadata that the Hugging Face Hub reads. The start model is a folder here, not a model of
   * the Hub, so {@code base_model} is left to who publishes.
   */
  private String frontMatter() {
    String task = sequenceClassification ? "text-classification" : "text-generation";
    return """
        ---
        library_name: %s
        pipeline_tag: %s
        tags:
        - rlhf4j
        - %s
        ---
        """
        .formatted(adapter ? "peft" : "transformers", task, method);
  }

  private String whatItIs() {
    String kind =
        sequenceClassification
            ? "A reward model: it gives a text one number, higher is better."
            : "A causal language model.";
    String how =
        switch (method) {
          case "sft" -> "supervised fine-tuning";
          case "reward" -> "training on preference pairs (Bradley-Terry)";
          case "raft" -> "RAFT, fine-tuning on the best of its own samples by reward";
          default -> method;
        };
    String form = adapter ? " The folder holds a LoRA adapter of the model it was made from." : "";
    return "%s%s Made from `%s` by %s with RLHF4J %s.\n"
        .formatted(kind, form, baseModel, how, version);
  }

  private String howToLoad() {
    String verb = sequenceClassification ? "score" : "generate";
    String rows = sequenceClassification ? "rows" : "prompts";
    String command =
        """
        In the folder from which it was trained, with RLHF4J:

        ```
        ./rlhf %s --model_name_or_path %s --dataset_path %s.jsonl --output_path out.jsonl
        ```

        With Python %s:

        """
            .formatted(verb, shellWord(path), rows, adapter ? "PEFT" : "transformers");
    String task = sequenceClassification ? "ForSequenceClassification" : "ForCausalLM";
    String autoClass = (adapter ? "AutoPeftModel" : "AutoModel") + task;
    StringBuilder python = new StringBuilder("```python\n");
    if (adapter) {
      python.append("from peft import ").append(autoClass).append("\n");
      python.append(tokenizer ? "from transformers import AutoTokenizer\n" : "");
    } else {
      String imports = tokenizer ? autoClass + ", AutoTokenizer" : autoClass;
      python.append("from transformers import ").append(imports).append("\n");
    }
    String labels = adapter && sequenceClassification ? ", num_labels=1" : "";
    python.append(
        "\nmodel = %s.from_pretrained(%s%s)\n".formatted(autoClass, pythonString(path), labels));
    if (tokenizer) {
      python.append(
          "tokenizer = AutoTokenizer.from_pretrained(%s)\n".formatted(pythonString(path)));
      python.append("inputs = tokenizer(text, return_tensors=\"pt\")\n");
      python.append(
          sequenceClassification
              ? "reward = model(**inputs).logits[0, 0].item()\n"
              : "answer = tokenizer.decode(model.generate(**inputs, max_new_tokens=128)[0])\n");
    }
    return command + python + "```\n";
  }

  /**
   * As one word for a POSIX shell, in quotes where it holds anything that means something there.
   */
  private static String shellWord(String text) {
    return text.matches("[\\w./:+,@%-]+") ? text : "'" + text.replace("'", "'\\''") + "'";
  }

  private static String pythonString(String text) {
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
  }

  private List<List<String>> dataRows() {
    return data.stream()
        .map(
            file ->
                List.of(
                    file.role(), file.path(), Format.count(file.rows()), "`" + file.sha256() + "`"))
        .toList();
  }

  private static List<List<String>> rows(Map<String, ?> values) {
    List<List<String>> rows = new ArrayList<>();
    values.forEach((key, value) -> rows.add(List.of("`" + key + "`", String.valueOf(value))));
    return rows;
  }

  private static String table(List<String> header, List<List<String>> rows) {
    StringBuilder table = new StringBuilder(row(header));
    table.append("|").append(" --- |".repeat(header.size())).append("\n");
    rows.forEach(cells -> table.append(row(cells)));
    return table.toString();
  }

  private static String row(List<String> cells) {
    return cells.stream()
        .map(cell -> cell.replace("|", "\\|").replaceAll("\\R", " "))
        .collect(Collectors.joining(" | ", "| ", " |\n"));
  }
}
