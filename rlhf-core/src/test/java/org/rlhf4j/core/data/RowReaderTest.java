package org.rlhf4j.core.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.text.Message;

class RowReaderTest {
  @TempDir Path folder;

  private final List<Example> rows = new ArrayList<>();
  private final List<BadRow> badRows = new ArrayList<>();

  @Test
  void everyFormIsKnown() throws IOException {
    Path file = folder.resolve("rows.jsonl");
    Files.writeString(
        file,
        """
        {"text": "a", "source": "other columns are allowed"}
        {"prompt": "p"}

        {"prompt": "p", "completion": "c", "chosen": null}
        {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}
        {"prompt": "p", "chosen": "c", "rejected": "r", "margin": 0.5}
        {"chosen": "c", "rejected": "r"}
        {"input_ids": [5, 6, 7]}
        {"input_ids": [5, 6, 7], "labels": [5, -100, 7]}
        {"chosen_input_ids": [1, 2], "rejected_input_ids": [1, 3], "margin": 2}
        """);
    assertEquals(9, read(file));
    assertEquals(List.of(), badRows);
    RowOrigin first = new RowOrigin(file, 1, 0);
    assertEquals(new Example.Text(first, "a"), rows.get(0));
    assertEquals(new Example.Prompt(new RowOrigin(file, 2, 1), "p"), rows.get(1));
    assertEquals(new Example.Completion(new RowOrigin(file, 4, 2), "p", "c"), rows.get(2));
    assertEquals(
        List.of(new Message(Message.Role.USER, "u"), new Message(Message.Role.ASSISTANT, "a")),
        assertInstanceOf(Example.Conversation.class, rows.get(3)).messages());
    assertEquals(
        new Example.Preference(new RowOrigin(file, 6, 4), "p", "c", "r", 0.5), rows.get(4));
    assertEquals(new Example.Dialogues(new RowOrigin(file, 7, 5), "c", "r", 0), rows.get(5));
    TokenRow all = assertInstanceOf(Example.Tokens.class, rows.get(6)).row();
    assertArrayEquals(new boolean[] {false, true, true}, all.targets());
    TokenRow labelled = assertInstanceOf(Example.Tokens.class, rows.get(7)).row();
    assertArrayEquals(new int[] {5, 6, 7}, labelled.ids());
    assertArrayEquals(new boolean[] {false, false, true}, labelled.targets());
    TokenPair pair = assertInstanceOf(Example.TokensPreference.class, rows.get(8)).pair();
    assertArrayEquals(new int[] {1, 3}, pair.rejected().ids());
    assertEquals(2, pair.margin());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '@',
      quoteCharacter = '`',
      value = {
        "{\"text\": \"a\"@broken JSON at column",
        "{\"text\": \"a\"} {}@broken JSON at column",
        "{\"text\": \"a\", \"text\": \"b\"}@broken JSON at column",
        "[1]@not a JSON object",
        "{\"txt\": \"a\"}@no known column among txt: no form of row",
        "{\"text\": null}@no known column",
        "{\"text\": \"a\", \"prompt\": \"b\"}@columns prompt, text are no form",
        "{\"input_ids\": [1], \"text\": \"b\"}@columns input_ids, text are no form",
        "{\"completion\": \"b\"}@columns completion are no form",
        "{\"chosen\": \"b\"}@columns chosen are no form",
        "{\"labels\": [1]}@columns labels are no form",
        "{\"text\": 3}@text must be a string, is number",
        "{\"text\": \"\"}@text is empty",
        "{\"prompt\": \"p\", \"completion\": \"\"}@completion is empty",
        "{\"text\": \"\\ud800\"}@half of a surrogate pair",
        "{\"messages\": []}@messages must be a list with at least one",
        "{\"messages\": \"m\"}@messages must be a list",
        "{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}@messages[0].role is 'tool'",
        "{\"messages\": [{\"content\": \"x\"}]}@messages[0].role must be a string, is missing",
        "{\"messages\": [{\"role\": \"user\"}]}@messages[0].content must be a string",
        "{\"input_ids\": []}@input_ids is empty",
        "{\"input_ids\": \"1\"}@input_ids must be a list of integers, is string",
        "{\"input_ids\": [1, 2.5]}@input_ids[1] must be an integer, is 2.5",
        "{\"input_ids\": [99999999999]}@input_ids[0] must be an integer",
        "{\"input_ids\": [1, 2], \"labels\": [1]}@labels has 1 entries, input_ids 2",
        "{\"input_ids\": [1, 2], \"labels\": [2, -100]}@labels[0] is 2; must be -100",
        "{\"chosen\": \"c\", \"rejected\": \"r\", \"margin\": \"1\"}@margin must be a finite number",
      })
  void badRowsSayWhatIsWrong(String line, String reason) throws IOException {
    Path file = folder.resolve("bad.jsonl");
    Files.writeString(file, "{\"text\": \"fine\"}\n" + line + "\n{\"text\": \"fine\"}\n");
    assertEquals(3, read(file));
    assertEquals(2, rows.size());
    assertEquals(1, badRows.size());
    String shown = badRows.get(0).toString();
    assertTrue(shown.startsWith(file + ":2: "), shown);
    assertTrue(shown.contains(reason), shown);
    assertEquals(1, badRows.get(0).origin().index());
    assertEquals(2, rows.get(1).origin().index());
  }

  @Test
  void bytesThatAreNoUtf8AreABadRow() throws IOException {
    Path file = folder.resolve("latin1.jsonl");
    Files.write(file, "{\"text\": \"caf\u00e9\"}".getBytes(StandardCharsets.ISO_8859_1));
    assertEquals(1, read(file));
    assertEquals("not UTF-8", badRows.get(0).reason());
  }

  @Test
  void readsGzipByteOrderMarkAndWindowsLines() throws IOException {
    Path file = folder.resolve("rows.jsonl.gz");
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
      out.write("\uFEFF{\"text\": \"a\"}\r\n{\"text\": \"b\"}".getBytes(StandardCharsets.UTF_8));
    }
    assertEquals(2, read(file));
    assertEquals(List.of(), badRows);
    assertEquals("b", assertInstanceOf(Example.Text.class, rows.get(1)).text());
  }

  @Test
  void numbersRowsAcrossFiles() throws IOException {
    Path one = Files.writeString(folder.resolve("1.jsonl"), "{\"text\": \"a\"}\n");
    Path two = Files.writeString(folder.resolve("2.jsonl"), "\n{\"text\": \"b\"}\n");
    assertEquals(2, read(one, two));
    assertEquals(new RowOrigin(two, 2, 1), rows.get(1).origin());
  }

  @Test
  void unreadableFilesAreNamed() throws IOException {
    Path missing = folder.resolve("none.jsonl");
    assertEquals(
        missing + ": no such data file",
        assertThrows(RlhfException.class, () -> read(missing)).getMessage());
    assertTrue(
        assertThrows(RlhfException.class, () -> read(folder)).getMessage().contains("is a folder"));
    Path whole = folder.resolve("whole.jsonl.gz");
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(whole))) {
      for (int i = 0; i < 5000; i++) {
        out.write(("{\"text\": \"" + i * 7919 % 10007 + "\"}\n").getBytes(StandardCharsets.UTF_8));
      }
    }
    byte[] bytes = Files.readAllBytes(whole);
    Path cut = folder.resolve("cut.jsonl.gz");
    Files.write(cut, Arrays.copyOf(bytes, bytes.length / 2));
    RlhfException e = assertThrows(RlhfException.class, () -> read(cut));
    assertEquals(ExitCode.INPUT, e.exitCode());
    assertTrue(e.getMessage().startsWith(cut + ": cannot be read after line "), e.getMessage());
  }

  private int read(Path... files) {
    try {
      return RowReader.read(
          List.of(files), rows::add, badRows::add, MessageDigest.getInstance("SHA-256"));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
