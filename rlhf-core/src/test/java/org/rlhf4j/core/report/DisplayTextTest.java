package org.rlhf4j.core.report;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class DisplayTextTest {
  @Test
  void widthCountsColumns() {
    assertEquals(0, DisplayText.width(""));
    assertEquals(5, DisplayText.width("naïve"));
    assertEquals(5, DisplayText.width("nai\u0308ve"), "a combining mark takes no column");
    assertEquals(4, DisplayText.width("漢字"));
    assertEquals(4, DisplayText.width("한국"));
    assertEquals(2, DisplayText.width("한"), "jamo join to one syllable");
    assertEquals(6, DisplayText.width("カナ。"));
    assertEquals(2, DisplayText.width("Ａ"), "full-width Latin");
    assertEquals(2, DisplayText.width("ｱｲ"), "half-width Katakana");
    assertEquals(2, DisplayText.width("😀"));
    assertEquals(1, DisplayText.width("…"));
    assertEquals(1, DisplayText.width("é\u200b"), "a zero-width space");
    assertEquals(2, DisplayText.width("⟦⟧"));
    assertEquals(4, DisplayText.width("ไทย์!"), "a Thai vowel killer takes no column");
  }

  @Test
  void cutKeepsWholeCharactersWithinTheColumns() {
    assertEquals("漢字", DisplayText.cut("漢字", 4));
    assertEquals("漢…", DisplayText.cut("漢字漢", 4));
    assertEquals("漢字…", DisplayText.cut("漢字漢", 5));
    assertEquals("ab…", DisplayText.cut("abcd", 3));
    assertEquals("abc", DisplayText.cut("abc", 3));
    assertEquals("e\u0301…", DisplayText.cut("e\u0301e\u0301e\u0301", 2));
    assertEquals("a…", DisplayText.cut("a😀😀", 3));
  }

  @Test
  void fitFillsToTheColumns() {
    assertEquals("漢  ", DisplayText.fit("漢", 4));
    assertEquals("漢… ", DisplayText.fit("漢字漢字", 4));
  }

  @Test
  void oneLineShowsWhatWouldBreakALine() {
    assertEquals("a⏎⏎b c⏎", DisplayText.oneLine("a\n\nb\tc\r\n"));
    assertEquals("\ufffd[31mred", DisplayText.oneLine("\u001b[31mred"));
    assertEquals("\ufffdabc", DisplayText.oneLine("\u202eabc"), "no right-to-left override");
  }

  @Test
  void wrapBreaksAtBlanksAndWithinLongWords() {
    assertEquals(List.of("one two", "three"), DisplayText.wrap("one two three", 8));
    assertEquals(List.of("one two", "three"), DisplayText.wrap("one two three", 7));
    assertEquals(List.of("abcd", "ef"), DisplayText.wrap("abcdef", 4));
    assertEquals(List.of("漢字", "漢"), DisplayText.wrap("漢字漢", 5));
    assertEquals(List.of("漢", "字"), DisplayText.wrap("漢字", 1), "too narrow, but it ends");
    assertEquals(List.of(""), DisplayText.wrap("", 5));
  }

  @Test
  void headAndTailTakeWholeCharacters() {
    assertEquals("a漢", DisplayText.head("a漢字", 4));
    assertEquals("字b", DisplayText.tail("漢字b", 4));
    assertEquals("漢字b", DisplayText.tail("漢字b", 5));
  }
}
